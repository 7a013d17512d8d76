package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// listing is the JSON of kv keys and kv values.
type listing struct {
	Complete bool       `json:"complete"`
	Missing  []int      `json:"missing"` // partitions
	Items    []listPart `json:"items"`

	parts map[partKey]int // where in Items
}

type partKey struct {
	partition int
	node      string
}

// listPart is what one node said of one partition. An item is a string, or an
// object with its base64 if it is not text.
type listPart struct {
	Partition int    `json:"partition"`
	Node      string `json:"node"`
	Items     []any  `json:"items"`
}

// listLine is one line of the API's answer: an item or, at the end, the verdict.
type listLine struct {
	Partition int     `json:"partition"`
	Node      string  `json:"node"`
	Key       *string `json:"key"`
	Value     *string `json:"value"`
	Encoding  string  `json:"encoding"`

	Complete *bool  `json:"complete"`
	Missing  []int  `json:"missing"`
	Error    *cause `json:"error"`
}

// cause is the problem document in a listing's last line.
type cause struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

func (a *app) kvList(f *kvFlags, what string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   what,
		Short: "List all " + what + " of a bucket, and where they were found",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.checkKey("any"); err != nil {
				return err
			}
			api, err := a.api()
			if err != nil {
				return err
			}
			query := f.query(api)
			query.Set("list", what)
			list, why, err := readListing(cmd, api, f.path(""), query)
			if err != nil {
				return err
			}
			slices.SortFunc(list.Items, func(x, y listPart) int {
				return cmp.Or(cmp.Compare(x.Partition, y.Partition), cmp.Compare(x.Node, y.Node))
			})
			if err := a.printListing(list, what); err != nil {
				return err
			}
			return list.verdict(why)
		},
	}
	f.addRead(cmd)
	return cmd
}

// readListing collects a listing as it arrives. why is the node's reason for an
// incomplete one, if it gave any.
func readListing(cmd *cobra.Command, api *apiClient, path string, query url.Values) (list *listing, why string, err error) {
	list = &listing{Missing: []int{}, Items: []listPart{}, parts: map[partKey]int{}}
	r := request{method: "GET", path: path, query: query}
	err = api.stream(cmd.Context(), r, func(body io.Reader) error {
		d := json.NewDecoder(body)
		for {
			var line listLine
			if err := d.Decode(&line); err != nil {
				return fmt.Errorf("the list ends too early: %w", err)
			}
			if line.Complete != nil {
				list.Complete = *line.Complete
				list.Missing = append(list.Missing, line.Missing...)
				if line.Error != nil {
					why = strings.TrimPrefix(line.Error.Detail, line.Error.Code+": ")
				}
				return nil
			}
			list.add(&line)
		}
	})
	return list, why, err
}

// add puts an item with those of its partition and node.
func (l *listing) add(line *listLine) {
	key := partKey{line.Partition, line.Node}
	i, ok := l.parts[key]
	if !ok {
		i = len(l.Items)
		l.parts[key] = i
		l.Items = append(l.Items, listPart{Partition: line.Partition, Node: line.Node, Items: []any{}})
	}
	var item any
	switch text := cmp.Or(line.Key, line.Value); {
	case text == nil:
		return
	case line.Encoding != "":
		item = map[string]string{line.Encoding: *text}
	default:
		item = *text
	}
	l.Items[i].Items = append(l.Items[i].Items, item)
}

func (a *app) printListing(list *listing, what string) error {
	if a.json() {
		return a.printJSON(list)
	}
	var rows [][]string
	for _, part := range list.Items {
		for _, item := range part.Items {
			text, ok := item.(string)
			if !ok {
				text = fmt.Sprint(item)
			}
			rows = append(rows, []string{strconv.Itoa(part.Partition), part.Node, text})
		}
	}
	return printTable(a.out, "PARTITION NODE "+strings.ToUpper(strings.TrimSuffix(what, "s")), rows)
}

// verdict is a failure if parts are missing.
func (l *listing) verdict(why string) error {
	if l.Complete {
		return nil
	}
	text := "the list is not complete"
	if len(l.Missing) > 0 {
		text += fmt.Sprintf(": partitions %s are missing", strings.Trim(fmt.Sprint(l.Missing), "[]"))
	}
	if why != "" {
		text += ": " + why
	}
	return &failure{code: exitFailed, err: errors.New(text), hint: "list again when ringcore cluster status is healthy"}
}
