package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// streams are the process's standard streams, or a test's.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// app is one run of the command line: the streams and the global flags.
type app struct {
	streams
	getenv func(string) string
	open   opener
	ran    bool // a command has begun: errors are no longer about usage

	endpoint string
	output   string
	timeout  time.Duration
}

// run executes the command line args and returns the exit code. getenv looks up
// environment variables.
func run(ctx context.Context, args []string, s streams, getenv func(string) string) int {
	a := &app{streams: s, getenv: getenv, open: openNode}
	return a.run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	cmd, err := root.ExecuteContextC(ctx)
	return report(a.err, err, a.ran, cmd)
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:                        "ringcore",
		Short:                      "A ring of virtual nodes: run a node, speak to a cluster",
		SilenceErrors:              true,
		SilenceUsage:               true,
		PersistentPreRunE:          a.prepare,
		SuggestionsMinimumDistance: 2,
		Args:                       cobra.ArbitraryArgs, // RunE answers what is no command
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
	root.SetFlagErrorFunc(flagError)
	f := root.PersistentFlags()
	f.StringVar(&a.endpoint, "endpoint", "http://127.0.0.1:7402", "HTTP address of any node; several, with commas, are tried in turn (RINGCORE_ENDPOINT)")
	f.StringVarP(&a.output, "output", "o", "table", "table or json")
	f.DurationVar(&a.timeout, "timeout", 10*time.Second, "how long a request may take")
	root.AddCommand(
		a.startCommand(), a.devCommand(), a.recoverCommand(), a.configCommand(),
		a.pingCommand(), a.kvCommand(), a.clusterCommand(), a.ringCommand(), a.nodeCommand(), a.transfersCommand(),
		a.repairCommand(), a.repairsCommand(),
		a.backupCommand(), a.restoreCommand(),
		a.checkCommand(), a.debugCommand(),
		a.bucketCommand(), a.topCommand(),
		a.benchCommand(), a.versionCommand(), a.docsCommand(),
		&cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: "The exit codes:\n\n" + exitCodesHelp},
	)
	completeMembers(a, root)
	return root
}

// prepare runs before every command: global flags from the environment, and checked.
func (a *app) prepare(cmd *cobra.Command, _ []string) error {
	if _, err := a.layer(cmd, []string{"endpoint", "output", "timeout"}, ""); err != nil {
		return err
	}
	if a.output != "table" && a.output != "json" {
		return usagef("pass -o table or -o json", "unknown output format %q", a.output)
	}
	if a.timeout <= 0 {
		return usagef("pass for example --timeout 10s", "the timeout is %s", a.timeout)
	}
	a.ran = true
	return nil
}

// group is a command that only holds others. cobra would answer a verb that it
// does not know with the help text and exit code 0.
func group(use, short string, verbs ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short, SuggestionsMinimumDistance: 2}
	g.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			cmd.SetOut(cmd.ErrOrStderr())
			_ = cmd.Help()
			return &failure{code: exitUsage, err: fmt.Errorf("%s needs a command", cmd.CommandPath()), quiet: true}
		}
		return unknownCommand(cmd, args[0])
	}
	g.AddCommand(verbs...)
	return g
}

// unknownCommand answers word, which is no command of cmd.
func unknownCommand(cmd *cobra.Command, word string) error {
	hint := "see " + cmd.CommandPath() + " --help"
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return usagef(hint, "unknown command %q for %q", word, cmd.CommandPath())
}

// flagError adds to what is wrong with a flag which one it was probably meant to be.
func flagError(cmd *cobra.Command, err error) error {
	hint := "see " + cmd.CommandPath() + " --help"
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := nearest(unknown.GetSpecifiedName(), names); near != "" {
			hint = "did you mean --" + near + "? " + hint
		}
	}
	return usagef(hint, "%w", err)
}

// note tells people something on stderr.
func (a *app) note(format string, args ...any) {
	fmt.Fprintf(a.err, format+"\n", args...)
}
