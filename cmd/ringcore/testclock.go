package main

import (
	"errors"
	"strings"
	"time"
)

// Environment variables of tests. A wrong clock is what a node must survive, and
// nothing that anybody should have by accident: it takes both.
const (
	testEnv      = "RINGCORE_TEST"       // 1: the variables of tests count
	testClockEnv = "RINGCORE_TEST_CLOCK" // SHIFT or SHIFT@AFTER, as 1h or -1h@20s
)

// testClock is the wall clock that a test asks for: wrong by SHIFT once the process
// has run for AFTER. It is nil, which stands for the right one, without such a test.
func testClock(getenv func(string) string, started time.Time) (func() time.Time, error) {
	text := getenv(testClockEnv)
	if text == "" {
		return nil, nil
	}
	if getenv(testEnv) != "1" {
		return nil, &failure{
			code: exitRefused, err: errors.New(testClockEnv + " is set, which gives the node a wrong clock"),
			hint: "unset it; for a test, set " + testEnv + "=1 too",
		}
	}
	shiftText, afterText, late := strings.Cut(text, "@")
	shift, err := time.ParseDuration(shiftText)
	var after time.Duration
	if err == nil && late {
		after, err = time.ParseDuration(afterText)
	}
	if err != nil {
		return nil, usagef("write for example -1h or 1h@20s", "environment variable %s: %w", testClockEnv, err)
	}
	return func() time.Time {
		now := time.Now()
		if now.Sub(started) < after {
			return now
		}
		return now.Add(shift)
	}, nil
}
