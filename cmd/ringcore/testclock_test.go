package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			text         string
			before, then time.Duration
		}{
			{"1h", time.Hour, time.Hour},
			{"-1h", -time.Hour, -time.Hour},
			{"-90m@20s", 0, -90 * time.Minute},
		} {
			_, got := startWith(t, map[string]string{testEnv: "1", testClockEnv: c.text}, "--data-dir", "d")
			if got.code != exitOK {
				t.Fatalf("%+v", got)
			}
			cfg, _ := startWith(t, map[string]string{testEnv: "1", testClockEnv: c.text}, "--data-dir", "d")
			if off := time.Until(cfg.Now()); off != c.before {
				t.Errorf("%s: %s off, want %s", c.text, off, c.before)
			}
			time.Sleep(20 * time.Second)
			if off := time.Until(cfg.Now()); off != c.then {
				t.Errorf("%s: %s off after a while, want %s", c.text, off, c.then)
			}
		}
	})
	if cfg, got := startWith(t, nil, "--data-dir", "d"); got.code != exitOK || cfg.Now != nil {
		t.Errorf("without a test: %+v", got)
	}
	for _, c := range []struct {
		opt, text string
		code      int
		says      string
	}{
		{"", "1h", exitRefused, "hint: unset it"},
		{"yes", "1h", exitRefused, "hint: unset it"},
		{"1", "an hour", exitUsage, "hint: write for example"},
		{"1", "1h@", exitUsage, "hint: write for example"},
	} {
		if _, got := startWith(t, map[string]string{testEnv: c.opt, testClockEnv: c.text}, "--data-dir", "d"); got.code != c.code || !strings.Contains(got.err, c.says) {
			t.Errorf("%q %q: %+v", c.opt, c.text, got)
		}
	}
}
