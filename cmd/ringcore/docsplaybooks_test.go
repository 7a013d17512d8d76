package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each playbook says what is seen, where to look and what to do, and names a test or a target of
// make that does it to nodes. That its commands exist is TestDocCommands' matter.
func TestDocPlaybooks(t *testing.T) {
	page := docPages(t)[filepath.Join("docs", "playbooks.md")]
	tests := testsOfCheckout(t)
	_, failures, _ := strings.Cut(page, "\n# Failures\n")
	if n := strings.Count(failures, "\n## "); n < 8 {
		t.Fatalf("only %d playbooks for failures", n)
	}
	for _, book := range strings.Split(page, "\n## ")[1:] {
		title, text, _ := strings.Cut(book, "\n")
		_, played, ok := strings.Cut(text, "*Played by*")
		if !ok {
			t.Errorf("%q names no test", title)
		}
		if !regexp.MustCompile("`(Test|make )").MatchString(played) {
			t.Errorf("%q is played by %q", title, played)
		}
		for _, m := range regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(played, -1) {
			if !tests[m[1]] {
				t.Errorf("%q is played by %s, which is no test", title, m[1])
			}
		}
		failure := strings.Contains(failures, "\n## "+title+"\n") && title != "You doubt the answers"
		for _, part := range []string{"**Symptom.**", "**Look.**", "**Do.**", "```console\n$ "} {
			if failure && !strings.Contains(text, part) {
				t.Errorf("%q has no %s", title, part)
			}
		}
	}
}
