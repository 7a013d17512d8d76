package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// propNames are a bucket's properties, in the order in which they are shown.
var propNames = []string{"r", "w", "pr", "pw", "sloppy", "siblings"}

func (a *app) kvProps(f *kvFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "props [NAME=VALUE ...]",
		Short: "Show a bucket's properties, or change some",
		Long: `Show a bucket's properties, or change some.

  r, w, pr, pw  what requests go by that do not say: a number, one, quorum, all or default
  sloppy        whether fallbacks count: true, false or default
  siblings      true: concurrent values are kept; false: the last write wins`,
		Example: "  ringcore kv props --bucket carts siblings=true w=all\n  ringcore kv props --bucket carts",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.checkKey("any"); err != nil {
				return err
			}
			r := request{method: "GET", path: "/v1/buckets/" + segment(f.bucket)}
			if len(args) > 0 {
				body, err := propsBody(args)
				if err != nil {
					return err
				}
				r.method, r.body = "PUT", body
			}
			api, err := a.api()
			if err != nil {
				return err
			}
			_, body, err := api.do(cmd.Context(), r)
			if err != nil {
				return err
			}
			return a.printProps(body)
		},
	}
}

// propsBody is the change that NAME=VALUE arguments ask for. The node knows the names
// and values; here numbers and words become JSON.
func propsBody(args []string) ([]byte, error) {
	change := map[string]any{}
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok || name == "" || value == "" {
			return nil, usagef("write for example siblings=true", "%q is not NAME=VALUE", arg)
		}
		var v any
		if json.Unmarshal([]byte(value), &v) != nil {
			v = value
		}
		change[name] = v
	}
	return json.Marshal(change)
}

func (a *app) printProps(body []byte) error {
	var props map[string]any
	if err := json.Unmarshal(body, &props); err != nil {
		return fmt.Errorf("the bucket's properties: %w", err)
	}
	if a.json() {
		return a.printJSON(json.RawMessage(body))
	}
	var rows [][]string
	for _, name := range propNames {
		rows = append(rows, []string{name, fmt.Sprint(props[name])})
	}
	return printTable(a.out, "PROPERTY VALUE", rows)
}
