package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs/acceptance.md has a row for each acceptance test and trap, and each names tests that exist.
func TestDocAcceptance(t *testing.T) {
	text := docPages(t)[filepath.Join("docs", "acceptance.md")]
	named := regexp.MustCompile("`([a-z/]+)\\.(Test\\w+)`")
	var rows []string
	for _, n := range []int{1, 2, 3, 4, 5, 6, 7, 8, 10, 15, 16, 17, 18, 21, 22, 24, 25, 28, 29, 30, 31, 32, 33, 34} {
		rows = append(rows, fmt.Sprintf("AT%d", n))
	}
	for n := range 8 {
		rows = append(rows, fmt.Sprintf("T%d", n+1))
	}
	for _, row := range rows {
		line := regexp.MustCompile("(?m)^\\| " + row + " .*").FindString(text)
		if !named.MatchString(line) {
			t.Errorf("%s has no test: %q", row, line)
		}
	}
	for _, m := range named.FindAllStringSubmatch(text, -1) {
		files, err := filepath.Glob(filepath.Join("..", "..", strings.TrimPrefix("/"+m[1], "/ringcore"), "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			found = found || strings.Contains(string(b), "func "+m[2]+"(")
		}
		if !found {
			t.Errorf("there is no %s.%s", m[1], m[2])
		}
	}
}
