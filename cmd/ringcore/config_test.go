package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ringcore/ringcore"
)

// startWith runs start with a node that records its configuration and has left at once.
func startWith(t *testing.T, env map[string]string, args ...string) (ringcore.Config, outcome) {
	t.Helper()
	var out, errs bytes.Buffer
	var seen ringcore.Config
	a := &app{
		streams: streams{in: strings.NewReader(""), out: &out, err: &errs},
		getenv:  func(name string) string { return env[name] },
		open: func(_ context.Context, cfg ringcore.Config) (runningNode, error) {
			seen = cfg
			n := newFakeNode(cfg)
			n.stop(nil)
			return n, nil
		},
	}
	code := a.run(t.Context(), append([]string{"start"}, args...))
	return seen, outcome{code, out.String(), errs.String()}
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ringcore.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestLayers: the file counts less than the environment, and that less than the
// command line.
func TestLayers(t *testing.T) {
	file := writeConfig(t, `
data_dir = "from-file"
name = "from-file"
disk_low = "10GiB"
zone = "from-file"
weight = 3
join = ["10.0.0.1:7400", "10.0.0.2:7400"]
insecure = true
`)
	env := map[string]string{"RINGCORE_NAME": "from-env", "RINGCORE_ZONE": "from-env", "RINGCORE_STORAGE": "memory", "RINGCORE_DISK_CRITICAL": "5%", "RINGCORE_CONFIG": file}
	cfg, got := startWith(t, env, "--zone", "from-flag")
	if got.code != exitOK {
		t.Fatalf("%+v", got)
	}
	want := ringcore.Config{
		Dir: "from-file", Name: "from-env", Zone: "from-flag", Weight: 3, Join: []string{"10.0.0.1:7400", "10.0.0.2:7400"}, Insecure: true,
		Storage: "memory", DiskLow: "10GiB", DiskCritical: "5%", Addr: "127.0.0.1:7400", Partitions: 64, Replicas: 3,
		CompareEvery: 10 * time.Minute, VoterPatience: 30 * time.Second, Hold: map[string]int{}, Version: "devel",
	}
	cfg.Logger = nil
	if diff := cmp.Diff(want, cfg, cmpopts.IgnoreUnexported(ringcore.Config{})); diff != "" {
		t.Error(diff)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for text, want := range map[string]string{
		"naem = 1":                  `unknown key "naem"`,
		"[node]\nname = 'a'":        `unknown key "node"`,
		"weight = 'heavy'":          "weight: invalid argument",
		"join = [1]":                "1 in the list is no string",
		"name = 2020-01-01":         "a string, number, boolean or list",
		"name = ":                   "toml",
		"weight = 1\nweight = 2":    "toml",
		"storage = 'tape'":          "unknown storage",
		"disk_low = 'lots'":         "--disk-low",
		"disk_critical = '-1%'":     "--disk-critical",
		"hint_rate = '10%'":         "--hint-rate",
		"addr = '0.0.0.0:7400'":     "reachable from other machines",
		"http_addr = 'nonsense'":    "--http-addr",
		"log_level = 'deafening'\n": "unknown log level",
	} {
		_, got := startWith(t, nil, "--data-dir", "d", "--config", writeConfig(t, text))
		if got.code != exitUsage && got.code != exitRefused || !strings.Contains(got.err, want) {
			t.Errorf("%q: %+v, want %s", text, got, want)
		}
	}
	if _, got := startWith(t, map[string]string{"RINGCORE_WEIGHT": "x"}, "--data-dir", "d"); got.code != exitUsage ||
		!strings.Contains(got.err, "RINGCORE_WEIGHT") {
		t.Errorf("%+v", got)
	}
	if _, got := startWith(t, nil, "--config", filepath.Join(t.TempDir(), "none.toml")); got.code != exitUsage {
		t.Errorf("%+v", got)
	}
}

// TestEveryFlagIsASetting: what start and dev take on the command line, they take
// from the environment and the file.
func TestEveryFlagIsASetting(t *testing.T) {
	a := &app{}
	root := a.rootCommand()
	for use, names := range map[string][]string{"start": startNames, "dev": devNames} {
		cmd, _, err := root.Find([]string{use})
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(cmd.LocalNonPersistentFlags().FlagUsages()) {
			_, flag, found := strings.Cut(line, "--")
			name, _, _ := strings.Cut(flag, " ")
			if found && name != "help" && name != "config" && !slices.Contains(names, name) {
				t.Errorf("%s: the flag %s is no setting", use, name)
			}
		}
		for _, name := range names {
			if cmd.Flags().Lookup(name) == nil {
				t.Errorf("%s has no flag %s", use, name)
			}
		}
	}
}
