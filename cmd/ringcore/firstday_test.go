package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// mistake is a row of the table "When it does not work" in docs/errors.md.
type mistake struct {
	exit  string
	words []string
}

var (
	mistakeRow  = regexp.MustCompile(`(?m)^\| ([^|]+) \| (\d+) \| ([^|]+) \|`)
	mistakeWord = regexp.MustCompile("`([^`]+)`")
)

func mistakesOf(t *testing.T) map[string]mistake {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "errors.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## When it does not work")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := make(map[string]mistake)
	for _, m := range mistakeRow.FindAllStringSubmatch(section, -1) {
		x := mistake{exit: m[2]}
		for _, w := range mistakeWord.FindAllStringSubmatch(m[3], -1) {
			x.words = append(x.words, w[1])
		}
		rows[m[1]] = x
	}
	return rows
}

// TestFirstDay makes the mistakes that newcomers make, with the real binary: each is answered with
// what, why and what to do, as docs/errors.md has it.
func TestFirstDay(t *testing.T) {
	n1, n2 := startProcess(t, "n1"), startProcess(t, "n2")
	n2.ok("cluster", "join", n1.addr, "--commit")
	settle(t, n1, n2)
	n1.ok("cluster", "set", "weight", "n1", "2")
	stale := field(t, n1.ok("cluster", "plan"), `(?m)^plan (\S+)$`)
	n1.ok("cluster", "clear")
	config := filepath.Join(t.TempDir(), "node.toml")
	if err := os.WriteFile(config, []byte("data_dir = \"d\"\nhtpp_addr = \"127.0.0.1:0\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := func(p *process, args ...string) *exec.Cmd {
		return exec.Command("ringcore", append([]string{"--endpoint", "http://" + p.http}, args...)...)
	}
	start := func(args ...string) *exec.Cmd { return exec.Command("ringcore", append([]string{"start"}, args...)...) }
	made := []struct {
		name string
		cmds []*exec.Cmd
	}{
		{"another port of the node in `--endpoint`", []*exec.Cmd{
			exec.Command("ringcore", "kv", "get", "hello", "--endpoint", n1.resp),
			exec.Command("ringcore", "kv", "get", "hello", "--endpoint", "http://"+n1.addr),
			exec.Command("ringcore", "cluster", "status", "--endpoint", "http://"+n1.resp),
		}},
		{"nobody at `--endpoint`", []*exec.Cmd{exec.Command("ringcore", "kv", "put", "hello", "world", "--endpoint", "127.0.0.1:1")}},
		{"join at the HTTP address", []*exec.Cmd{at(n2, "cluster", "join", n1.http)}},
		{"join twice", []*exec.Cmd{at(n2, "cluster", "join", n1.addr), at(n2, "cluster", "join", n1.addr, "--commit")}},
		{"commit nothing", []*exec.Cmd{at(n1, "cluster", "commit")}},
		{"commit a stale plan", []*exec.Cmd{at(n1, "cluster", "commit", "--plan", stale)}},
		{"unknown node", []*exec.Cmd{at(n1, "cluster", "leave", "n9"), at(n1, "cluster", "replace", "n1", "n9"), at(n1, "transfers", "set", "--node", "n9", "--out", "1")}},
		{"typo in a command", []*exec.Cmd{at(n1, "cluster", "lave", "n2")}},
		{"typo in a flag", []*exec.Cmd{at(n1, "kv", "get", "hello", "--buckit", "b")}},
		{"argument forgotten", []*exec.Cmd{at(n1, "cluster", "leave")}},
		{"typo in the config", []*exec.Cmd{start("--config", config)}},
		{"no permission on the data directory", []*exec.Cmd{forbidden(t)}},
		{"second node on the same directory", []*exec.Cmd{start("--data-dir", n1.args[3], "--addr", "127.0.0.1:0")}},
		{"port in use", []*exec.Cmd{start("--data-dir", t.TempDir(), "--addr", n1.addr)}},
	}
	rows := mistakesOf(t)
	for _, x := range made {
		t.Run(x.name, func(t *testing.T) {
			row, ok := rows[x.name]
			if !ok || len(row.words) == 0 {
				t.Fatal("docs/errors.md does not have it")
			}
			switch x.name {
			case "commit nothing":
			case "commit a stale plan":
				n1.ok("cluster", "set", "zone", "n2", "b")
			default:
				t.Parallel() // these change nothing, and a join waits for two seconds
			}
			for _, cmd := range x.cmds {
				said, code := answer(t, cmd)
				says(t, said, row.words...)
				if code != row.exit || !strings.Contains(said, "\nhint: ") || !strings.HasPrefix(said, "ringcore: ") || strings.Count(said, "\n") != 2 {
					t.Errorf("%v: exit %s, want %s, an error and a hint:\n%s", cmd.Args, code, row.exit, said)
				}
			}
		})
	}
	if len(rows) != len(made) {
		t.Errorf("docs/errors.md has %d mistakes, and %d are tried", len(rows), len(made))
	}
}

// answer runs a command that must fail, and returns what it says on stderr and its exit code.
func answer(t *testing.T, cmd *exec.Cmd) (said, code string) {
	t.Helper()
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	if err := cmd.Wait(); err == nil || out.Len() > 0 {
		t.Errorf("%v: %v, and on stdout %q", cmd.Args, err, out.String())
	}
	var lines []string
	for line := range strings.Lines(errs.String()) {
		if !strings.HasPrefix(line, "time=") { // a node's log
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, ""), strings.TrimPrefix(cmd.ProcessState.String(), "exit status ")
}

// forbidden starts a node on a folder that is not its user's. Nothing is forbidden to root, so it
// becomes nobody, with a copy of the binary that nobody may read.
func forbidden(t *testing.T) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	if os.Geteuid() != 0 {
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		return exec.Command("ringcore", "start", "--data-dir", filepath.Join(dir, "d"), "--addr", "127.0.0.1:0")
	}
	path, err := exec.LookPath("ringcore")
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(dir, "ringcore")
	if err := os.WriteFile(own, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, filepath.Dir(dir)} { // nobody must come as far as to the copy
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(own, "start", "--data-dir", filepath.Join(dir, "d"), "--addr", "127.0.0.1:0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	return cmd
}

func field(t *testing.T, text, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("there is no %s in:\n%s", pattern, text)
	}
	return m[1]
}
