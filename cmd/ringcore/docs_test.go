package main

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// docPages are the checkout's Markdown files, by their paths.
func docPages(t *testing.T) map[string]string {
	t.Helper()
	pages := make(map[string]string)
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && name != ".." && (strings.HasPrefix(name, ".") || name == "dist" || name == "bin" || name == "ringcore-data"):
			return fs.SkipDir
		case strings.HasSuffix(name, ".md"):
			b, err := os.ReadFile(path)
			rel, _ := filepath.Rel(root, path)
			pages[rel] = string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(pages) < 10 {
		t.Fatalf("only %d pages", len(pages))
	}
	return pages
}

var (
	docLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	docFile = regexp.MustCompile("`((?:[a-z][a-z0-9_-]*/)+[a-z0-9_]+\\.(?:go|md|sh|svg|txtar|json))`")
)

// Every relative link of a page, and every path of a file in it, leads somewhere.
func TestDocLinks(t *testing.T) {
	for page, text := range docPages(t) {
		dir := filepath.Join("..", "..", filepath.Dir(page))
		for _, m := range docLink.FindAllStringSubmatch(text, -1) {
			u, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: link %s: %v", page, m[1], err)
				continue
			}
			if u.Scheme != "" || u.Path == "" {
				continue
			}
			if _, err := os.Stat(filepath.Join(dir, u.Path)); err != nil {
				t.Errorf("%s: link %s leads nowhere", page, m[1])
			}
		}
		for _, m := range docFile.FindAllStringSubmatch(text, -1) {
			here, _ := filepath.Glob(filepath.Join(dir, m[1]))
			top, _ := filepath.Glob(filepath.Join("..", "..", m[1]))
			if len(here)+len(top) == 0 {
				t.Errorf("%s: there is no file %s", page, m[1])
			}
		}
	}
}

// docCommand is a command of ringcore in a page: in a console block, or between backquotes.
var docCommand = regexp.MustCompile("(?m)(?:^\\$ (?:.* )?|`)(?:go run \\./cmd/)?ringcore ([a-z-][^`\n#&|<>]*)")

// Every make target that a page names is one.
func TestDocMakeTargets(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join("..", "..", "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for page, text := range docPages(t) {
		for _, m := range regexp.MustCompile("`make ([a-z0-9-]+)").FindAllStringSubmatch(text, -1) {
			n++
			if !regexp.MustCompile("(?m)^" + m[1] + ":").Match(makefile) {
				t.Errorf("%s names make %s, which is no target", page, m[1])
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d targets were found", n)
	}
}

// Every command that a page shows exists, and so do its flags.
func TestDocCommands(t *testing.T) {
	n := 0
	for page, text := range docPages(t) {
		for _, m := range docCommand.FindAllStringSubmatch(text, -1) {
			n++
			if err := checkCommand(strings.Fields(m[1])); err != nil {
				t.Errorf("%s: ringcore %s: %v", page, strings.TrimSpace(m[1]), err)
			}
		}
	}
	if n < 50 {
		t.Errorf("only %d commands were found", n)
	}
	for _, wrong := range []string{"cluster nosuch", "kv get --nosuch k", "nosuch"} {
		if checkCommand(strings.Fields(wrong)) == nil {
			t.Errorf("ringcore %s is let pass", wrong)
		}
	}
}

// checkCommand looks for a command and its flags, without their values.
func checkCommand(words []string) error {
	var path, flags []string
	for i, w := range words {
		switch {
		case strings.HasPrefix(w, "-"):
			name, _, _ := strings.Cut(w, "=")
			flags = append(flags, strings.TrimRight(name, ".,;:)"))
		case i > 0 && strings.HasPrefix(words[i-1], "--") && len(path) == 0: // its value
		default:
			path = append(path, strings.Trim(w, ".,;:()"))
		}
	}
	root := (&app{}).rootCommand()
	cmd, rest, err := root.Find(path)
	if err != nil {
		return err
	}
	if cmd.HasSubCommands() && len(rest) > 0 && regexp.MustCompile(`^[a-z-]+$`).MatchString(rest[0]) {
		return fmt.Errorf("%s has no command %s", cmd.CommandPath(), rest[0])
	}
	for _, f := range flags {
		if !hasFlag(cmd, f) {
			return fmt.Errorf("%s has no flag %s", cmd.CommandPath(), f)
		}
	}
	return nil
}

func hasFlag(cmd *cobra.Command, f string) bool {
	cmd.InitDefaultHelpFlag()
	if name, ok := strings.CutPrefix(f, "--"); ok {
		return name == "" || cmd.Flags().Lookup(name) != nil || cmd.InheritedFlags().Lookup(name) != nil
	}
	name := strings.TrimPrefix(f, "-")
	return len(name) == 1 && (cmd.Flags().ShorthandLookup(name) != nil || cmd.InheritedFlags().ShorthandLookup(name) != nil)
}

// docs/errors.md has each code once, with its number, name and status, and each error
// variable that Go callers have.
func TestDocErrors(t *testing.T) {
	text := docPages(t)[filepath.Join("docs", "errors.md")]
	rows := regexp.MustCompile("(?m)^\\| (\\d+) \\| `([a-z_]+)` \\| (\\d+) \\| ([^|]*)\\|").FindAllStringSubmatch(text, -1)
	seen := make(map[string]bool)
	for _, r := range rows {
		var n int
		_, _ = fmt.Sscan(r[1], &n)
		code := wire.Code(n)
		resp := "ERR"
		switch status := code.HTTPStatus(); {
		case code == wire.OK:
			resp = ""
		case code == wire.NotFound:
			resp = "nil, or ERR"
		case code == wire.DiskFull:
			resp = "MISCONF"
		case status == 503 || status == 504:
			resp = "TRYAGAIN"
		}
		if seen[r[1]] || r[2] != code.String() || r[3] != fmt.Sprint(code.HTTPStatus()) || strings.TrimSpace(r[4]) != resp {
			t.Errorf("errors.md has %q for %d %s %d %s", r[0], n, code, code.HTTPStatus(), resp)
		}
		seen[r[1]] = true
	}
	for n := 0; ; n++ {
		if strings.HasPrefix(wire.Code(n).String(), "code_") {
			if len(seen) != n {
				t.Errorf("errors.md has %d codes, and there are %d", len(seen), n)
			}
			break
		}
		if !seen[fmt.Sprint(n)] {
			t.Errorf("errors.md does not have %d %s", n, wire.Code(n))
		}
	}
	for _, line := range strings.Split(exitCodesHelp, "\n") {
		code, when, _ := strings.Cut(strings.TrimSpace(line), " ")
		if row := fmt.Sprintf("| %s | %s |", code, strings.TrimSpace(when)); !strings.Contains(text, row) {
			t.Errorf("errors.md does not have the row %s", row)
		}
	}
	for pkg, files := range map[string][]string{"ringcore": {"errors.go"}, "client": {"client/errors.go"}} {
		for _, f := range files {
			b, err := os.ReadFile(filepath.Join("..", "..", f))
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`(?m)^\s+(Err[A-Z]\w+) `).FindAllStringSubmatch(string(b), -1) {
				if !strings.Contains(text, "`"+pkg+"."+m[1]+"`") {
					t.Errorf("errors.md does not have %s.%s", pkg, m[1])
				}
			}
		}
	}
}

// testsOfCheckout are the names of all tests.
func testsOfCheckout(t *testing.T) map[string]bool {
	t.Helper()
	tests := make(map[string]bool)
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllStringSubmatch(string(b), -1) {
			tests[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}

// Each test that docs/guarantees.md names exists, and each promise names one.
func TestDocGuarantees(t *testing.T) {
	text := docPages(t)[filepath.Join("docs", "guarantees.md")]
	tests := testsOfCheckout(t)
	for _, m := range regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(text, -1) {
		if !tests[m[1]] {
			t.Errorf("guarantees.md names %s, which is no test", m[1])
		}
	}
	promises := regexp.MustCompile(`(?m)^\| \d+ \|.*$`).FindAllString(text, -1)
	if len(promises) < 15 {
		t.Errorf("guarantees.md has only %d promises", len(promises))
	}
	if i := slices.IndexFunc(promises, func(row string) bool { return !regexp.MustCompile("`(Test|make )").MatchString(row) }); i >= 0 {
		t.Errorf("guarantees.md names no test for %s", promises[i])
	}
}
