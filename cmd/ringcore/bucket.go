package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// propNames are a bucket's properties, in the order in which they are shown.
var propNames = []string{"r", "w", "pr", "pw", "sloppy", "siblings"}

// foreignProps are properties of other stores, and what there is in their place.
var foreignProps = map[string]string{
	"n":               "n is the same for all data of a service; for the cluster it is ringcore cluster set replicas",
	"n_val":           "n is the same for all data of a service; for the cluster it is ringcore cluster set replicas",
	"allow_mult":      "that is siblings=true here",
	"last_write_wins": "the last write wins unless siblings=true",
	"dw":              "a write is on disk wherever it counts: w is enough",
	"ttl":             "a value has a time to live of its own: EX and EXPIRE over RESP, Expires in Go",
}

func (a *app) bucketCommand() *cobra.Command {
	return group("bucket", "Properties of buckets: how many replicas answer, whether concurrent values are kept",
		a.bucketList(), a.bucketGet(), a.bucketSet())
}

func (a *app) bucketList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the buckets with properties of their own",
		Long: "List the buckets with properties of their own. Any other name is a bucket too, as soon as a key is written\n" +
			"to it, and has the defaults.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(cmd.Context(), a, "/v1/buckets", func(buckets []admin.BucketView) error {
				var rows [][]string
				for _, b := range buckets {
					rows = append(rows, append([]string{b.Bucket}, propValues(b.BucketProps)...))
				}
				return printTable(a.out, "BUCKET "+strings.ToUpper(strings.Join(propNames, " ")), rows)
			})
		},
	}
}

func (a *app) bucketGet() *cobra.Command {
	return &cobra.Command{
		Use:               "get BUCKET",
		Short:             "Show a bucket's properties",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeBucket,
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(cmd.Context(), a, "/v1/buckets/"+segment(args[0]), a.printProps)
		},
	}
}

func (a *app) bucketSet() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "set BUCKET NAME=VALUE ...",
		Short: "Change properties of a bucket; those that are not named stay",
		Long: `Change properties of a bucket; those that are not named stay. It holds for what is asked from then on, and
for what does not say otherwise.

  r, w, pr, pw  how many replicas answer a read or have stored a write, and how many of them are
                primaries: a number, one, quorum, all or default
  sloppy        whether fallbacks count: true, false or default
  siblings      true: concurrent values are kept; false: the last write wins, and the next write to a
                key takes the place of all its values`,
		Example:           "  ringcore bucket set carts siblings=true w=all\n  ringcore bucket set carts w=default",
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: a.completeBucket,
		RunE: func(cmd *cobra.Command, args []string) error {
			change, err := propChange(args[1:])
			if err != nil {
				return err
			}
			return a.setBucket(cmd.Context(), args[0], change, yes)
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask before siblings are given up")
	return cmd
}

// setBucket changes a bucket. It asks before it takes siblings away: what has been written
// concurrently is lost with the next write.
func (a *app) setBucket(ctx context.Context, bucket string, change map[string]any, yes bool) error {
	api, err := a.api()
	if err != nil {
		return err
	}
	var props wire.BucketProps
	if path := "/v1/buckets/" + segment(bucket); change["siblings"] == false && !yes {
		if err := api.get(ctx, path, nil, &props); err != nil {
			return err
		}
		if props.Siblings && !a.confirm("The next write to a key of bucket %q drops its other values. Go on? [y/N] ", bucket) {
			return usagef("pass --yes if concurrent values need not be kept", "giving up the siblings of bucket %q was not confirmed", bucket)
		}
	}
	if err := api.call(ctx, "PUT", "/v1/buckets/"+segment(bucket), change, &props); err != nil {
		return err
	}
	said := "bucket " + bucket + ":"
	for i, value := range propValues(props) {
		said += " " + propNames[i] + "=" + value
	}
	return a.done(said, props)
}

// propChange is the change that NAME=VALUE arguments ask for. The node knows the values;
// here numbers and words become JSON.
func propChange(args []string) (map[string]any, error) {
	change := map[string]any{}
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok || name == "" || value == "" {
			return nil, usagef("write for example siblings=true", "%q is not NAME=VALUE", arg)
		}
		if !slices.Contains(propNames, name) {
			return nil, usagef(propHint(name), "unknown property %q", name)
		}
		var v any
		if json.Unmarshal([]byte(value), &v) != nil {
			v = value
		}
		change[name] = v
	}
	return change, nil
}

// propHint says what name was probably meant to be, and which properties there are.
func propHint(name string) string {
	if hint, known := foreignProps[name]; known {
		return hint
	}
	hint := "the properties are " + strings.Join(propNames, ", ")
	if near := nearest(name, propNames); near != "" && len(name) > 2 { // two letters are near to any of one
		hint = "did you mean " + near + "? " + hint
	}
	return hint
}

func (a *app) printProps(props wire.BucketProps) error {
	var rows [][]string
	for i, value := range propValues(props) {
		rows = append(rows, []string{propNames[i], value})
	}
	return printTable(a.out, "PROPERTY VALUE", rows)
}

// propValues are the values of propNames.
func propValues(p wire.BucketProps) []string {
	sloppy := "default"
	if p.Sloppy != wire.SwitchDefault {
		sloppy = fmt.Sprint(p.Sloppy == wire.SwitchOn)
	}
	return []string{p.R.String(), p.W.String(), p.PR.String(), p.PW.String(), sloppy, fmt.Sprint(p.Siblings)}
}

// completeBucket completes the name of a bucket, then its properties.
func (a *app) completeBucket(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	switch name, _, valued := strings.Cut(word, "="); {
	case len(args) == 0:
		return a.bucketNames(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
	case cmd.Name() != "set":
		return nil, cobra.ShellCompDirectiveNoFileComp
	case valued && (name == "sloppy" || name == "siblings"):
		return []string{name + "=true", name + "=false"}, cobra.ShellCompDirectiveNoFileComp
	case valued:
		return []string{name + "=one", name + "=quorum", name + "=all", name + "=default"}, cobra.ShellCompDirectiveNoFileComp
	}
	var props []string
	for _, name := range propNames {
		props = append(props, name+"=")
	}
	return props, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// completeBucketFlag completes the values of --bucket.
func (a *app) completeBucketFlag(cmd *cobra.Command) {
	err := cmd.RegisterFlagCompletionFunc("bucket", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.bucketNames(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // there is no such flag: a bug
	}
}

// bucketNames are the buckets that a shell may complete.
func (a *app) bucketNames(ctx context.Context) []string {
	a.timeout = completionPatience
	api, err := a.api()
	if err != nil {
		return nil
	}
	var buckets []admin.BucketView
	_ = api.get(ctx, "/v1/buckets", nil, &buckets) // a shell has no place for an error
	names := []string{"default"}
	for _, b := range buckets {
		if b.Bucket != "default" {
			names = append(names, b.Bucket)
		}
	}
	return names
}
