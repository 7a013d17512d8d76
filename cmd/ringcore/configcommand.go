package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (a *app) configCommand() *cobra.Command {
	return group("config", "Look at the settings of a node before it starts", a.configCheck(), a.configShow(), a.configDescribe())
}

// settingLine is one line of config show and config describe.
type settingLine struct {
	Key     string `json:"key"`
	Env     string `json:"env"`
	Flag    string `json:"flag"`
	Type    string `json:"type"`
	Value   any    `json:"value,omitempty"` // show only
	From    string `json:"from,omitempty"`  // show only: flag, the variable, the file, or default
	Default string `json:"default"`
	Help    string `json:"help"`
}

// settingsOf lists the settings that cmd's flags are, in order.
func settingsOf(cmd *cobra.Command) []settingLine {
	all := make([]settingLine, len(startNames))
	for i, name := range startNames {
		f := cmd.Flags().Lookup(name)
		all[i] = settingLine{Key: keyOf(name), Env: envOf(name), Flag: "--" + name, Type: typeOf(f), Default: strings.Trim(f.DefValue, "[]"), Help: f.Usage}
	}
	return all
}

// typeOf is what kind of TOML value a flag's is.
func typeOf(f *pflag.Flag) string {
	switch t := f.Value.Type(); t {
	case "stringSlice":
		return "list of strings"
	case "int":
		return "number"
	case "bool":
		return "boolean"
	case "duration":
		return "string, as 10m"
	default:
		return t
	}
}

// tomlOf is text, a flag's value, as the file has it.
func tomlOf(f *pflag.Flag, text string) string {
	switch v := f.Value.(type) {
	case pflag.SliceValue:
		var items []string
		for _, item := range v.GetSlice() {
			items = append(items, strconv.Quote(item))
		}
		return "[" + strings.Join(items, ", ") + "]"
	default:
		if t := v.Type(); t == "int" || t == "bool" {
			return text
		}
		return strconv.Quote(text)
	}
}

func (a *app) configDescribe() *cobra.Command {
	return &cobra.Command{
		Use:   "describe",
		Short: "Print a TOML file with every setting, what it means and its default",
		Long: "Print a TOML file with every setting of start, what it means, its environment variable and its default.\n" +
			"All are commented out: the file as it is changes nothing.",
		Example: "  ringcore config describe >ringcore.toml",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			of := &cobra.Command{}
			new(startSettings).flags(of)
			all := settingsOf(of)
			if a.json() {
				return a.printJSON(all)
			}
			fmt.Fprint(a.out, "# Settings of a node: ringcore start --config FILE\n# A flag counts before the environment variable, and that before this file.\n")
			for i, s := range all {
				f := of.Flags().Lookup(startNames[i])
				fmt.Fprintf(a.out, "\n# %s\n# %s, %s\n# %s = %s\n", s.Help, s.Flag, s.Env, s.Key, tomlOf(f, f.DefValue))
			}
			return nil
		},
	}
}

func (a *app) configCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Say whether start would take this file; exit code 2 if not",
		Long: "Say whether start would take this file, together with the environment. It looks at what is written, not at\n" +
			"whether addresses are free or folders can be written.",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			s, of := &startSettings{}, &cobra.Command{Use: "start"}
			s.flags(of)
			if err := of.Flags().Set("config", args[0]); err != nil {
				return err
			}
			if _, err := s.layer(a, of); err != nil {
				return err
			}
			s.cfg.Dir = cmp.Or(s.cfg.Dir, ".") // it may be given as a flag
			if err := s.check(); err != nil {
				return err
			}
			return a.done(args[0]+": ok", map[string]any{"file": args[0], "ok": true})
		},
	}
}

func (a *app) configShow() *cobra.Command {
	s := &startSettings{}
	cmd := &cobra.Command{
		Use:     "show",
		Short:   "Print what start would take, and where each setting comes from",
		Long:    "Print what start would take with the same flags, environment and file, and where each setting comes from.",
		Example: "  ringcore config show --config ringcore.toml\n  RINGCORE_ZONE=a ringcore config show --data-dir n1 -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, err := s.layer(a, cmd)
			if err != nil {
				return err
			}
			all, rows := settingsOf(cmd), [][]string{}
			for i, name := range startNames {
				f := cmd.Flags().Lookup(name)
				if all[i].From = from[name]; all[i].From == "" {
					all[i].From = "default"
				}
				text := tomlOf(f, f.Value.String())
				all[i].Value = f.Value.String()
				if list, ok := f.Value.(pflag.SliceValue); ok {
					all[i].Value = list.GetSlice()
				}
				rows = append(rows, []string{all[i].Key, text, all[i].From})
			}
			if a.json() {
				return a.printJSON(all)
			}
			return printTable(a.out, "KEY VALUE FROM", rows)
		},
	}
	s.flags(cmd)
	return cmd
}
