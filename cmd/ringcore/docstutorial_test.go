package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// docModule is a module of a reader's own, outside, made of a page's listings. A Go listing
// says in its first line where it goes:
//
//	// FILE                    it is the file
//	// FILE, at the end:       it is added to it
//	// FILE, after TEXT:       it is put behind the line with TEXT, or the block that begins there
type docModule struct {
	t     *testing.T
	dir   string
	stale bool // since it was built
}

var docPlace = regexp.MustCompile(`^// (\S+\.go)(?:, (at the end|after (.+)):)?$`)

func newDocModule(t *testing.T) *docModule {
	t.Helper()
	m := &docModule{t: t, dir: t.TempDir()}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	m.write("go.sum", string(sum))
	m.write("go.mod", "module example.com/store\n\ngo 1.26.0\n\nrequire github.com/ringcore/ringcore v0.0.0\n\nreplace github.com/ringcore/ringcore => "+root+"\n")
	return m
}

func (m *docModule) write(name, text string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, name), []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	m.stale = true
}

// add puts a listing where its first line says.
func (m *docModule) add(listing string) {
	m.t.Helper()
	first, text, _ := strings.Cut(listing, "\n")
	place := docPlace.FindStringSubmatch(first)
	if place == nil {
		m.t.Fatalf("%q does not say where the listing goes", first)
	}
	name, where, after := place[1], place[2], place[3]
	if where == "" {
		m.write(name, text)
		return
	}
	b, err := os.ReadFile(filepath.Join(m.dir, name))
	if err != nil {
		m.t.Fatal(err)
	}
	have := string(b)
	if after != "" {
		i := strings.Index(have, after)
		if i < 0 || strings.Count(have, after) > 1 {
			m.t.Fatalf("%s has %q %d times", name, after, strings.Count(have, after))
		}
		i += strings.Index(have[i:], "\n") + 1
		have, text = have[:i]+text, have[i:]
	}
	m.write(name, have+text)
}

// run runs go in the module.
func (m *docModule) run(args ...string) string {
	m.t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = m.dir, append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	out, err := cmd.CombinedOutput()
	if err != nil {
		m.t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimRight(string(out), "\n")
}

// session is a program of the module that takes commands behind its prompt.
type session struct {
	t      *testing.T
	prompt string
	in     io.WriteCloser
	out    chan string // what it prints, in pieces; closed when it has ended
	cmd    *exec.Cmd
}

func (m *docModule) start(name string, args ...string) *session {
	m.t.Helper()
	if m.stale {
		m.run("build", "-o", "store", ".")
		m.stale = false
	}
	s := &session{t: m.t, prompt: name + "> ", out: make(chan string, 1000), cmd: exec.Command("./store", args...)}
	s.cmd.Dir, s.cmd.Stderr = m.dir, os.Stderr
	in, err := s.cmd.StdinPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	s.in = in
	if err := s.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	go func() {
		defer close(s.out)
		for b := make([]byte, 4096); ; {
			n, err := out.Read(b)
			if n > 0 {
				s.out <- string(b[:n])
			}
			if err != nil {
				return
			}
		}
	}()
	m.t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		for range s.out {
		}
		_ = s.cmd.Wait()
	})
	s.answer()
	return s
}

// answer is what the program prints before its next prompt, or its end.
func (s *session) answer() string {
	s.t.Helper()
	said := ""
	for limit := time.After(time.Minute); !strings.HasSuffix(said, s.prompt); {
		select {
		case piece, ok := <-s.out:
			if !ok {
				return strings.TrimRight(said, "\n")
			}
			said += piece
		case <-limit:
			s.t.Fatalf("after %q there is no prompt %q", said, s.prompt)
		}
	}
	return strings.TrimRight(strings.TrimSuffix(said, s.prompt), "\n")
}

// TestTutorial builds the listings of docs/tutorial.md and runs its console blocks.
func TestTutorial(t *testing.T) {
	long(t)
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "tutorial.md"))
	if err != nil {
		t.Fatal(err)
	}
	ports, m := findPorts(t), newDocModule(t)
	sh := newShell(t, t.TempDir())
	sessions := make(map[string]*session)
	for _, block := range regexp.MustCompile("(?ms)^```(go|console)\n(.*?)^```$").FindAllStringSubmatch(string(page), -1) {
		if block[1] == "go" {
			m.add(block[2])
			continue
		}
		runBlock(t, ports.apply(block[2]), m, sh, sessions)
	}
	b, err := os.ReadFile(filepath.Join(m.dir, "store.go"))
	if lines := strings.Count(string(b), "\n"); err != nil || lines > 75 {
		t.Errorf("the store has %d lines: %v", lines, err)
	}
}

// The program of the README: a service of one's own in under 60 lines, which counts on when
// it is started again. Only its address is another.
func TestReadmeProgram(t *testing.T) {
	long(t)
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	listing := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindStringSubmatch(string(readme))
	if listing == nil || strings.Count(listing[1], "\n") > 60 {
		t.Fatal("the README has no program, or a long one")
	}
	m := newDocModule(t)
	m.write("main.go", strings.Replace(listing[1], `Dir: "data"`, `Dir: "data", Addr: "127.0.0.1:0", OneMachine: true`, 1))
	m.run("build", "-o", "counter", ".")
	for _, want := range []string{"1 <nil>\n", "2 <nil>\n"} {
		cmd := exec.Command("./counter")
		cmd.Dir = m.dir
		if out, err := cmd.Output(); err != nil || string(out) != want {
			t.Errorf("it prints %q, not %q: %v", out, want, err)
		}
	}
}

var docPrompt = regexp.MustCompile(`^(?:(\$)|(n\d)>) (.+)$`)

// runBlock runs a console block: lines after "$ " in the shell, or as a program of the
// module; lines after the prompt of such a program in that.
func runBlock(t *testing.T, block string, m *docModule, sh *shell, sessions map[string]*session) {
	t.Helper()
	lines := strings.Split(strings.TrimRight(block, "\n"), "\n")
	for i := 0; i < len(lines); {
		p := docPrompt.FindStringSubmatch(lines[i])
		if p == nil {
			t.Fatalf("%q is not a command", lines[i])
		}
		var want []string
		for i++; i < len(lines) && docPrompt.FindStringSubmatch(lines[i]) == nil; i++ {
			want = append(want, lines[i])
		}
		switch cmd := p[3]; {
		case strings.HasPrefix(cmd, "go run . "):
			args := strings.Fields(cmd)[3:]
			sessions[args[1]] = m.start(args[1], args...)
		case strings.HasPrefix(cmd, "go "):
			if out := m.run(strings.Fields(cmd)[1:]...); !matches(want, strings.Split(out, "\n")) {
				t.Fatalf("%s prints\n%s", cmd, out)
			}
		case p[1] == "$":
			sh.do(docStep{cmd: cmd}, cmd, want)
		default:
			s := sessions[p[2]]
			if _, err := io.WriteString(s.in, cmd+"\n"); err != nil {
				t.Fatal(err)
			}
			if got := s.answer(); !matchesAnswer(want, got) {
				t.Fatalf("%s> %s answers\n%s\nand not\n%s", p[2], cmd, got, strings.Join(want, "\n"))
			}
		}
	}
}

// matchesAnswer is matches, but for the order in a list of items.
func matchesAnswer(want []string, got string) bool {
	if len(want) == 0 {
		return got == ""
	}
	lines := strings.Split(got, "\n")
	for _, side := range [][]string{want, lines} {
		for i, line := range side {
			if list, ok := strings.CutPrefix(line, "[{"); ok {
				items := strings.Split(strings.TrimSuffix(list, "}]"), "} {")
				slices.Sort(items)
				side[i] = strings.Join(items, ", ")
			}
		}
	}
	return matches(want, lines)
}
