package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
)

func TestFailpointEnvironment(t *testing.T) {
	if cfg, got := startWith(t, nil, "--data-dir", "d"); got.code != exitOK || cfg.Failpoint != nil {
		t.Errorf("without a test: %+v", got)
	}
	for _, c := range []struct {
		opt, text string
		code      int
		says      string
	}{
		{"", "source-begun=kill", exitRefused, "hint: unset it"},
		{"1", "source-begun", exitUsage, "no such failpoint"},
		{"1", "nowhere=kill", exitUsage, "there are [source-begun"},
		{"1", "source-begun=explode", exitUsage, "the action is"},
		{"1", "source-begun=error@0", exitUsage, "which pass"},
		{"1", "source-begun=sleep:long", exitUsage, "invalid duration"},
	} {
		env := map[string]string{testEnv: c.opt, failpointEnv: c.text}
		if _, got := startWith(t, env, "--data-dir", "d"); got.code != c.code || !strings.Contains(got.err, c.says) {
			t.Errorf("%q %q: %+v", c.opt, c.text, got)
		}
	}
	cfg, _ := startWith(t, map[string]string{testEnv: "1", failpointEnv: "target-stored=error@2,target-end=error@every"}, "--data-dir", "d")
	var got []bool
	for _, p := range []wire.Failpoint{wire.TargetStored, wire.TargetStored, wire.TargetStored, wire.TargetEnd, wire.TargetEnd, wire.TargetReady} {
		got = append(got, errors.Is(cfg.Failpoint(p), errFailpoint))
	}
	if want := []bool{false, true, false, true, true, false}; !slices.Equal(got, want) {
		t.Errorf("errors %v, want %v", got, want)
	}
}

func TestFailpointFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "points")
	cfg, _ := startWith(t, map[string]string{testEnv: "1", failpointEnv: "file:" + file}, "--data-dir", "d")
	if err := cfg.Failpoint(wire.TargetEnd); err != nil {
		t.Error(err)
	}
	for range 2 { // a new text counts anew
		if err := os.WriteFile(file, []byte("target-end=error\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := cfg.Failpoint(wire.TargetEnd); !errors.Is(err, errFailpoint) {
			t.Error("no error")
		}
		if err := cfg.Failpoint(wire.TargetEnd); err != nil {
			t.Error(err)
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := cfg.Failpoint(wire.TargetEnd); err != nil {
			t.Error(err)
		}
	}
}
