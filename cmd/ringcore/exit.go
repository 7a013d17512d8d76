package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// The exit codes.
const (
	exitOK          = 0
	exitFailed      = 1 // failed, or not found
	exitUsage       = 2
	exitUnhealthy   = 3
	exitUnreachable = 4
	exitRefused     = 5
	exitTimeout     = 6 // it may still happen
	exitInterrupted = 130
)

const exitCodesHelp = `  0    done
  1    failed, or not found
  2    wrong usage
  3    unhealthy
  4    the cluster cannot be reached
  5    refused by a rule, or not in this version
  6    timed out; it may still happen
  130  interrupted`

// failure is an error with the exit code and the hint that belong to it.
type failure struct {
	code  int
	err   error
	hint  string
	quiet bool // everything has been said already
}

func (f *failure) Error() string { return f.err.Error() }

func (f *failure) Unwrap() error { return f.err }

// usagef reports wrong usage.
func usagef(hint, format string, args ...any) error {
	return &failure{code: exitUsage, err: fmt.Errorf(format, args...), hint: hint}
}

// report prints err, if there is something to say, and returns its exit code. ran
// tells whether cmd had begun: an error before that is about its usage, and comes
// from the parsing of flags and arguments.
func report(w io.Writer, err error, ran bool, cmd *cobra.Command) int {
	if err == nil {
		return exitOK
	}
	f, ok := errors.AsType[*failure](err)
	switch {
	case errors.Is(err, context.Canceled):
		f, err = &failure{code: exitInterrupted}, errors.New("interrupted")
	case !ok && ran:
		f = &failure{code: exitFailed}
	case !ok:
		if _, path, ok := strings.Cut(cmd.CommandPath(), " "); ok {
			err = fmt.Errorf("%s: %w", path, err)
		}
		f = &failure{code: exitUsage, hint: "usage: " + cmd.UseLine() + "; see " + cmd.CommandPath() + " --help"}
	}
	if !f.quiet {
		fmt.Fprintf(w, "ringcore: %v\n", err)
		if f.hint != "" {
			fmt.Fprintf(w, "hint: %s\n", f.hint)
		}
	}
	return f.code
}
