package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"
)

// envPrefix begins the environment variable of every setting: RINGCORE_DATA_DIR
// stands for --data-dir, as data_dir does in the file.
const envPrefix = "RINGCORE_"

// layer fills the flags of cmd called names that were not given on the command
// line: from the environment, else from the TOML file if one is named. What is
// left keeps its default. It returns where each value that is no default comes from.
func (a *app) layer(cmd *cobra.Command, names []string, file string) (from map[string]string, err error) {
	settings, err := readConfig(file, names)
	if err != nil {
		return nil, err
	}
	flags, from := cmd.Flags(), make(map[string]string)
	for _, name := range names {
		if flags.Changed(name) {
			from[name] = "flag"
			continue
		}
		key, env := keyOf(name), envOf(name)
		if value := a.getenv(env); value != "" {
			if err := flags.Set(name, value); err != nil {
				return nil, usagef("see "+cmd.CommandPath()+" --help", "environment variable %s: %w", env, err)
			}
			from[name] = env
		} else if value, ok := settings[key]; ok {
			if err := flags.Set(name, value); err != nil {
				return nil, usagef("see "+cmd.CommandPath()+" --help", "config file %s: %s: %w", file, key, err)
			}
			from[name] = file
		}
	}
	return from, nil
}

// noteMisspelt tells of environment variables that are no settings and look like one. Others
// with the prefix may be there for good reasons: Kubernetes sets RINGCORE_PORT for a service
// of that name.
func (a *app) noteMisspelt(environ, names []string) {
	known := []string{envOf("config"), envOf("endpoint")}
	for _, name := range names {
		known = append(known, envOf(name))
	}
	for _, pair := range environ {
		env, value, _ := strings.Cut(pair, "=")
		if value == "" || !strings.HasPrefix(env, envPrefix) || slices.Contains(known, env) {
			continue
		}
		if near := nearest(env, known); near != "" {
			a.note("environment variable %s is no setting and does nothing: did you mean %s?", env, near)
		}
	}
}

// keyOf is the key in the file of the flag called name.
func keyOf(name string) string { return strings.ReplaceAll(name, "-", "_") }

// envOf is the environment variable of the flag called name.
func envOf(name string) string { return envPrefix + strings.ToUpper(keyOf(name)) }

// readConfig reads a TOML file of one level. Its keys are the names of flags with
// underscores; a key that is none of them is refused.
func readConfig(file string, names []string) (map[string]string, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, usagef("ringcore config describe >"+file+" writes one", "read the config: %w", err)
	}
	var doc map[string]any
	if _, err := toml.Decode(string(text), &doc); err != nil {
		return nil, usagef("a line is key = value, text in quotes; ringcore config describe prints a file that is right", "config file %s: %w", file, err)
	}
	known := make([]string, len(names))
	for i, name := range names {
		known[i] = keyOf(name)
	}
	settings := make(map[string]string, len(doc))
	for _, key := range slices.Sorted(maps.Keys(doc)) {
		if !slices.Contains(known, key) {
			return nil, usagef(keyHint(key, known), "config file %s: unknown key %q", file, key)
		}
		if settings[key], err = settingText(doc[key]); err != nil {
			return nil, usagef("", "config file %s: %s: %w", file, key, err)
		}
	}
	return settings, nil
}

// settingText is a TOML value as it would stand on the command line.
func settingText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case int64, bool, float64:
		return fmt.Sprint(v), nil
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			s, ok := item.(string)
			if !ok {
				return "", fmt.Errorf("%v in the list is no string", item)
			}
			items[i] = s
		}
		return strings.Join(items, ","), nil
	}
	return "", fmt.Errorf("a string, number, boolean or list of strings is needed, not %T", v)
}

// keyHint says which keys there are, and first that which key was meant to be.
func keyHint(key string, known []string) string {
	hint := "the keys are " + strings.Join(known, ", ")
	if near := nearest(key, known); near != "" {
		hint = "did you mean " + near + "? " + hint
	}
	return hint
}

// nearest is the one of words that word was probably meant to be, or nothing.
func nearest(word string, words []string) string {
	guess := &cobra.Command{SuggestionsMinimumDistance: 2}
	for _, w := range words {
		guess.AddCommand(&cobra.Command{Use: w, Run: func(*cobra.Command, []string) {}})
	}
	if near := guess.SuggestionsFor(word); len(near) > 0 {
		return near[0]
	}
	return ""
}
