package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// docStep is a command of a page, after a "$ ", and the output that the page shows for it.
type docStep struct {
	line int
	cmd  string
	want []string
}

// docSteps are the commands of a page's console blocks, in order.
func docSteps(page string) (steps []docStep) {
	inside := false
	for i, line := range strings.Split(page, "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case !inside:
		case strings.HasPrefix(line, "$ "):
			steps = append(steps, docStep{line: i + 1, cmd: line[2:]})
		case len(steps) > 0:
			steps[len(steps)-1].want = append(steps[len(steps)-1].want, line)
		}
	}
	return steps
}

// docPorts puts free ports in the place of those from 7400 on that a page names.
type docPorts int

var docPort = regexp.MustCompile(`127\.0\.0\.1:74(\d\d)`)

// findPorts looks for a hundred ports of which the first of each ten are free.
func findPorts(t *testing.T) docPorts {
	t.Helper()
	for range 100 {
		base, free := 20000+100*rand.IntN(100), true // below those that the system gives out
		for i := 0; i < 50 && free; i++ {
			if i%10 > 3 {
				continue
			}
			ln, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", base+i))
			if free = err == nil; free {
				_ = ln.Close()
			}
		}
		if free {
			return docPorts(base)
		}
	}
	t.Fatal("there are no free ports")
	return 0
}

func (p docPorts) apply(s string) string {
	return docPort.ReplaceAllStringFunc(s, func(m string) string {
		n, _ := strconv.Atoi(m[len(m)-2:])
		return fmt.Sprint("127.0.0.1:", int(p)+n)
	})
}

// loosely is a line of output without what differs from run to run: ids, numbers of their
// own, the width of columns, and who owns which partition.
var (
	docID     = regexp.MustCompile(`\b[0-9a-f]{16,40}\b`)
	docNumber = regexp.MustCompile(`\b\d[\d.]*`)
	docSpace  = regexp.MustCompile(`\s+`)
	docRing   = regexp.MustCompile(`^([a-z]{4}\|){16}$`)
)

func loosely(line string) string {
	line = docID.ReplaceAllString(line, "ID")
	line = docNumber.ReplaceAllString(line, "0")
	line = docRing.ReplaceAllString(strings.TrimSpace(line), "RING")
	return docSpace.ReplaceAllString(line, " ")
}

// matches reports whether got is what a page shows: in a line "…" stands for anything, and
// as the last line for any more.
func matches(want, got []string) bool {
	for len(want) > 0 && want[len(want)-1] == "" {
		want = want[:len(want)-1]
	}
	if n := len(want); n > 0 && want[n-1] == "…" && len(got) >= n {
		want, got = want[:n-1], got[:n-1]
	}
	return len(want) == len(got) && matchesLines(want, got)
}

func matchesLines(want, got []string) bool {
	for i := range want {
		parts := strings.Split(loosely(want[i]), "…")
		for j := range parts {
			parts[j] = regexp.QuoteMeta(strings.TrimSpace(parts[j]))
		}
		if !regexp.MustCompile("^" + strings.Join(parts, ".*") + "$").MatchString(loosely(got[i])) {
			return false
		}
	}
	return true
}

// shell is one bash that runs a page's commands, as its reader would.
type shell struct {
	t     *testing.T
	in    io.WriteCloser
	lines chan string // of its standard output, and of what it runs
}

func newShell(t *testing.T, dir string, env ...string) *shell {
	t.Helper()
	cmd := exec.Command("bash", "-s") // reads a command, runs it, reads the next
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &shell{t: t, in: in, lines: make(chan string, 1000)}
	s.send("set -m; trap 'kill -9 $(jobs -p) 2>/dev/null' EXIT")
	read := make(chan struct{})
	go func() {
		defer close(read)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			s.lines <- sc.Text()
		}
	}()
	t.Cleanup(func() {
		_ = in.Close()
		<-read
		_ = cmd.Wait()
	})
	return s
}

func (s *shell) send(text string) {
	s.t.Helper()
	if _, err := fmt.Fprintln(s.in, text); err != nil {
		s.t.Fatal(err)
	}
}

// run gives the shell a command and returns what it prints.
func (s *shell) run(cmd string) (out []string) {
	s.t.Helper()
	const end = "__end__"
	s.send(cmd + "\nprintf '\\n" + end + "\\n'")
	for limit := time.After(time.Minute); ; {
		select {
		case line := <-s.lines:
			if line == end {
				return trimmed(out) // there is a line end before it
			}
			out = append(out, line)
		case <-limit:
			s.t.Fatalf("%s: has not ended; so far:\n%s", cmd, strings.Join(out, "\n"))
		}
	}
}

// looks are commands that a reader who sees something else gives again.
var looks = regexp.MustCompile(`\b(get|status|members|transfers|preflist|plan|keys|curl)\b`)

// do runs a step until it prints what the page shows; what goes on in the background, in
// any order.
func (s *shell) do(st docStep, cmd string, want []string) {
	s.t.Helper()
	out := s.run(cmd)
	matches := matches
	if strings.HasSuffix(cmd, "&") {
		matches = func(want, got []string) bool {
			return len(want) == len(got) && matchesLines(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got)))
		}
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); !matches(want, out); {
		select {
		case line := <-s.lines: // of a program in the background
			out = append(out, line)
			continue
		case <-tick.C:
			if looks.MatchString(cmd) {
				out = s.run(cmd)
			}
			continue
		case <-limit:
		}
		s.t.Fatalf("line %d: %s prints\n%s\nand not\n%s", st.line, cmd, strings.Join(out, "\n"), strings.Join(want, "\n"))
	}
}

func trimmed(lines []string) []string {
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// runPage runs all commands of a page in one shell.
func runPage(t *testing.T, path string, adapt func(cmd string) string) {
	t.Helper()
	long(t)
	page, err := os.ReadFile(filepath.Join("..", "..", path))
	if err != nil {
		t.Fatal(err)
	}
	ports := findPorts(t)
	s := newShell(t, t.TempDir(), "RINGCORE_ENDPOINT="+ports.apply("http://127.0.0.1:7402"))
	steps := docSteps(string(page))
	if len(steps) == 0 {
		t.Fatal("the page has no commands")
	}
	for _, st := range steps {
		cmd, want := st.cmd, make([]string, len(st.want))
		if adapt != nil {
			cmd = adapt(cmd)
		}
		for i := range want {
			want[i] = ports.apply(st.want[i])
		}
		want = trimmed(want)
		s.do(st, ports.apply(cmd), want)
	}
}

func TestQuickstart(t *testing.T) { runPage(t, "docs/quickstart.md", nil) }

// The first commands of the README, which it runs from a checkout.
func TestReadmeCommands(t *testing.T) {
	runPage(t, "README.md", func(cmd string) string {
		cmd = strings.Replace(cmd, "go run ./cmd/ringcore", "ringcore", 1)
		if strings.HasSuffix(cmd, " dev") {
			cmd += " --base-port $(echo 127.0.0.1:7400 | cut -d: -f2) 2>/dev/null &" // another terminal
		}
		return cmd
	})
}
