package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

// docsCommand writes the reference pages, which the repository keeps in docs/.
func (a *app) docsCommand() *cobra.Command {
	return group("docs", "Write the reference of commands and settings",
		&cobra.Command{
			Use:   "markdown DIR",
			Short: "Write cli.md and config.md",
			Args:  cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				for name, page := range referencePages(cmd.Root()) {
					if err := os.WriteFile(filepath.Join(args[0], name), page, 0o644); err != nil {
						return fmt.Errorf("write the reference: %w", err)
					}
				}
				return a.done("cli.md and config.md written to "+args[0], map[string]string{"dir": args[0]})
			},
		},
		&cobra.Command{
			Use:   "man DIR",
			Short: "Write a manual page for each command",
			Args:  cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				if err := os.MkdirAll(args[0], 0o755); err != nil {
					return fmt.Errorf("make the folder: %w", err)
				}
				date := time.Unix(0, 0).UTC() // the same pages of the same binary
				head := &doc.GenManHeader{Section: "1", Source: "ringcore " + thisBuild().Version, Manual: "Ringcore", Date: &date}
				cmd.Root().DisableAutoGenTag = true
				if err := doc.GenManTree(cmd.Root(), head, args[0]); err != nil {
					return fmt.Errorf("write the manual pages: %w", err)
				}
				return a.done("manual pages written to "+args[0], map[string]string{"dir": args[0]})
			},
		},
	)
}

// referencePages are the generated pages of docs/ by name.
func referencePages(root *cobra.Command) map[string][]byte {
	return map[string][]byte{"cli.md": cliPage(root), "config.md": configPage()}
}

// cliPage is the reference of all commands below root.
func cliPage(root *cobra.Command) []byte {
	b := &bytes.Buffer{}
	fmt.Fprint(b, "# Command line\n\nGenerated from the binary by `make docs`; `ringcore COMMAND --help` says the same.\n\n## For every command\n\n")
	flagTable(b, root.PersistentFlags())
	fmt.Fprintf(b, "\n## Exit codes\n\n```\n%s\n```\n", strings.TrimRight(exitCodesHelp, "\n"))
	writeCommand(b, root)
	return b.Bytes()
}

func writeCommand(b *bytes.Buffer, cmd *cobra.Command) {
	cmd.InitDefaultHelpFlag() // as it has when it runs
	if cmd.Runnable() && cmd.HasParent() && !cmd.HasSubCommands() {
		about := cmd.Long
		if about == "" {
			about = cmd.Short + "."
		}
		fmt.Fprintf(b, "\n## %s\n\n%s\n\n```\n%s\n```\n", cmd.CommandPath(), about, cmd.UseLine())
		if cmd.Example != "" {
			fmt.Fprintf(b, "\nExamples:\n\n```\n%s\n```\n", strings.TrimRight(unindent(cmd.Example), "\n"))
		}
		if cmd.LocalNonPersistentFlags().HasAvailableFlags() {
			fmt.Fprintln(b)
			flagTable(b, cmd.LocalNonPersistentFlags())
		}
	}
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && c.Name() != "completion" && c.Name() != "help" {
			writeCommand(b, c)
		}
	}
}

// flagTable lists flags, but for help.
func flagTable(b *bytes.Buffer, flags *pflag.FlagSet) {
	fmt.Fprint(b, "| flag | type | default | |\n|---|---|---|---|\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" || f.Hidden {
			return
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name += ", `-" + f.Shorthand + "`"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", name, f.Value.Type(), code(f.DefValue), cell(f.Usage))
	})
}

// configPage is the reference of start's settings.
func configPage() []byte {
	cmd := &cobra.Command{}
	new(startSettings).flags(cmd)
	b := &bytes.Buffer{}
	fmt.Fprint(b, "# Settings of a node\n\nGenerated from the binary by `make docs`. A flag of `ringcore start` counts before the environment variable, and that before the\n"+
		"key in the TOML file of `--config`. `ringcore config describe` prints such a file, `config check FILE` says whether one is\n"+
		"right, `config show` what a node would take and where each setting comes from.\n\n| key | flag | variable | type | default | |\n|---|---|---|---|---|---|\n")
	for _, s := range settingsOf(cmd) {
		fmt.Fprintf(b, "| `%s` | `%s` | `%s` | %s | %s | %s |\n", s.Key, s.Flag, s.Env, s.Type, code(s.Default), cell(s.Help))
	}
	return b.Bytes()
}

// code sets a default in code's type, if there is one.
func code(s string) string {
	if s = strings.Trim(s, "[]"); s == "" {
		return ""
	}
	return "`" + s + "`"
}

// cell keeps text from ending its cell.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// unindent takes the two blanks away with which cobra's examples begin.
func unindent(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, "  ")
	}
	return strings.Join(lines, "\n")
}
