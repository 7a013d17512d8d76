package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReferenceIsCurrent: docs/ has every command, flag and setting that there is, and no other.
func TestReferenceIsCurrent(t *testing.T) {
	for name, want := range referencePages((&app{}).rootCommand()) {
		have, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Split(string(have), "\n"), strings.Split(string(want), "\n")); diff != "" {
			t.Errorf("docs/%s is not what the binary says (run make docs):\n%s", name, diff)
		}
	}
}
