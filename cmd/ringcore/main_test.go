package main

import (
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ringcore": main})
}

// TestScripts runs the command line, as a process of its own, against a fake
// cluster. In a script, `exits CODE ARGS…` runs ringcore and checks the exit code,
// `node-down` and `list-incomplete` break the cluster.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			f := &fakeCluster{}
			srv := newFakeAPI(f)
			env.Defer(srv.Close)
			env.Setenv("RINGCORE_ENDPOINT", srv.URL)
			env.Values["cluster"] = f
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"node-down": func(ts *testscript.TestScript, _ bool, _ []string) {
				setFake(ts, func(f *fakeCluster) { f.down = true })
			},
			"list-incomplete": func(ts *testscript.TestScript, _ bool, _ []string) {
				setFake(ts, func(f *fakeCluster) { f.missing = true })
			},
		},
	})
}

func setFake(ts *testscript.TestScript, change func(*fakeCluster)) {
	f := ts.Value("cluster").(*fakeCluster)
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// exits runs ringcore and compares its exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits CODE ARGS...")
	}
	err := ts.Exec("ringcore", args[1:]...)
	code := 0
	if exit, ok := err.(*exec.ExitError); ok {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("run ringcore: %v", err)
	}
	if want, _ := strconv.Atoi(args[0]); code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

// long skips a test that takes long under the race detector, and whose parts others run
// under it: make race LONG=1 runs it too.
func long(t *testing.T) {
	t.Helper()
	if raceDetector && os.Getenv("RINGCORE_TEST_LONG") == "" {
		t.Skip("under the race detector make race LONG=1 runs this")
	}
}
