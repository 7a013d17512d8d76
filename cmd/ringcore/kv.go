package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes/kv"
)

// kvFlags are the flags of the key/value commands.
type kvFlags struct {
	bucket       string
	r, w, pr, pw string
	sloppy       bool
	yes          bool

	context     string // of the read that a write follows
	ifAbsent    bool
	ifUnchanged bool
}

func (a *app) kvCommand() *cobra.Command {
	f := &kvFlags{}
	g := group("kv", "Read and write keys",
		a.kvPut(f), a.kvGet(f), a.kvDelete(f), a.kvList(f, "keys"), a.kvList(f, "values"), a.kvClear(f), a.kvExport(f), a.kvImport(f))
	g.PersistentFlags().StringVarP(&f.bucket, "bucket", "b", "default", "bucket")
	a.completeBucketFlag(g)
	return g
}

func (f *kvFlags) addRead(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.r, "r", "", "replicas that must answer a read: a number, one, quorum or all")
	cmd.Flags().StringVar(&f.pr, "pr", "", "how many of them must be primaries")
}

func (f *kvFlags) addWrite(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.w, "w", "", "replicas that must have stored a write: a number, one, quorum or all")
	cmd.Flags().StringVar(&f.pw, "pw", "", "how many of them must be primaries")
	cmd.Flags().BoolVar(&f.sloppy, "sloppy", false, "let fallbacks count")
}

func (f *kvFlags) addContext(cmd *cobra.Command, about string) {
	cmd.Flags().StringVar(&f.context, "context", "", about+", as kv get -o json shows it")
}

// header is the context and the condition of a write.
func (f *kvFlags) header() (http.Header, error) {
	h := http.Header{}
	if f.context != "" {
		h.Set(kv.ContextHeader, f.context)
	}
	switch {
	case f.ifAbsent && f.ifUnchanged:
		return nil, usagef("", "--if-absent and --if-unchanged exclude each other")
	case f.ifAbsent:
		h.Set("If-None-Match", "*")
	case f.ifUnchanged && f.context == "":
		return nil, usagef("pass the context that kv get -o json shows", "--if-unchanged needs --context")
	case f.ifUnchanged:
		h.Set("If-Match", `"`+f.context+`"`)
	}
	return h, nil
}

// query is what the flags say to the API.
func (f *kvFlags) query(api *apiClient) url.Values {
	q := url.Values{"timeout": {api.share()}}
	for name, value := range map[string]string{"r": f.r, "w": f.w, "pr": f.pr, "pw": f.pw} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if f.sloppy {
		q.Set("sloppy", "true")
	}
	return q
}

// path is that of a key, or of the bucket if key is empty.
func (f *kvFlags) path(key string) string {
	p := "/v1/kv/" + segment(f.bucket)
	if key != "" {
		p += "/" + segment(key)
	}
	return p
}

// segment makes s one segment of a path. Dots are escaped too where they would
// mean this or the parent folder.
func segment(s string) string {
	if s == "." || s == ".." {
		return strings.ReplaceAll(s, ".", "%2E")
	}
	return url.PathEscape(s)
}

// checkKey refuses what would name the bucket instead.
func (f *kvFlags) checkKey(key string) error {
	if key == "" || f.bucket == "" {
		return usagef("", "the key and the bucket cannot be empty")
	}
	return nil
}

func (a *app) kvPut(f *kvFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "put KEY VALUE",
		Short:   "Store a value; - reads it from stdin",
		Example: "  ringcore kv put k1 v1\n  ringcore kv put photo - <photo.jpg",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			value := []byte(args[1])
			if args[1] == "-" {
				var err error
				if value, err = io.ReadAll(a.in); err != nil {
					return fmt.Errorf("read the value from stdin: %w", err)
				}
			}
			if _, _, err := a.kv(cmd, f, "PUT", args[0], value); err != nil {
				return err
			}
			return a.done("ok", map[string]string{"bucket": f.bucket, "key": args[0]})
		},
	}
	f.addWrite(cmd)
	f.addContext(cmd, "the causal context of the read that this write follows: in a bucket with siblings it replaces what that showed")
	cmd.Flags().BoolVar(&f.ifAbsent, "if-absent", false, "only if the key has no value")
	cmd.Flags().BoolVar(&f.ifUnchanged, "if-unchanged", false, "only if the key has not been written since the read of --context")
	return cmd
}

func (a *app) kvGet(f *kvFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get KEY",
		Short: "Print a value",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			res, body, err := a.kv(cmd, f, "GET", args[0], nil)
			if err != nil {
				return err
			}
			return a.printValue(f, args[0], res, body)
		},
	}
	f.addRead(cmd)
	cmd.Flags().BoolVar(&f.sloppy, "sloppy", false, "let fallbacks count")
	return cmd
}

func (a *app) kvDelete(f *kvFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "delete KEY",
		Short: "Remove a key and print the value that it had",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			res, body, err := a.kv(cmd, f, "DELETE", args[0], nil)
			if err != nil {
				return err
			}
			return a.printValue(f, args[0], res, body)
		},
	}
	f.addWrite(cmd)
	f.addContext(cmd, "the causal context of a read: in a bucket with siblings only what that showed is removed")
	return cmd
}

// kv runs one request about one key. A missing key is a failure that says no
// more than that.
func (a *app) kv(cmd *cobra.Command, f *kvFlags, method, key string, body []byte) (*http.Response, []byte, error) {
	if err := f.checkKey(key); err != nil {
		return nil, nil, err
	}
	header, err := f.header()
	if err != nil {
		return nil, nil, err
	}
	api, err := a.api()
	if err != nil {
		return nil, nil, err
	}
	res, value, err := api.do(cmd.Context(), request{method: method, path: f.path(key), query: f.query(api), header: header, body: body})
	if isProblem(err, wire.NotFound) {
		a.note("not found")
		return nil, nil, &failure{code: exitFailed, err: errors.New("not found"), quiet: true}
	}
	return res, value, err
}

// printValue prints a value, and all of them if there are siblings.
func (a *app) printValue(f *kvFlags, key string, res *http.Response, body []byte) error {
	if res.StatusCode == http.StatusMultipleChoices {
		return a.printSiblings(f, key, res, body)
	}
	if a.json() {
		doc := map[string]any{"bucket": f.bucket, "key": key, "value": string(body)}
		if !utf8.Valid(body) {
			doc["value"], doc["encoding"] = body, "base64"
		}
		if c := res.Header.Get(kv.ContextHeader); c != "" {
			doc["context"] = c
		}
		return a.printJSON(doc)
	}
	_, err := a.out.Write(append(body, '\n'))
	return err
}

// printSiblings prints the values of a key that was written concurrently.
func (a *app) printSiblings(f *kvFlags, key string, res *http.Response, body []byte) error {
	var values [][]byte // base64
	if err := json.Unmarshal(body, &values); err != nil {
		return fmt.Errorf("the list of siblings: %w", err)
	}
	if a.json() {
		return a.printJSON(map[string]any{
			"bucket": f.bucket, "key": key, "siblings": values, "encoding": "base64", "context": res.Header.Get(kv.ContextHeader),
		})
	}
	a.note("%d siblings: values that were written without knowing of each other. To leave one, put it with the --context that kv get -o json shows", len(values))
	for _, v := range values {
		if _, err := a.out.Write(append(v, '\n')); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) kvClear(f *kvFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "clear",
		Short: "Remove every key of a bucket",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !f.yes && !a.confirm("Remove every key of bucket %q? [y/N] ", f.bucket) {
				return usagef("pass --yes", "clearing bucket %q was not confirmed", f.bucket)
			}
			if err := f.checkKey("any"); err != nil {
				return err
			}
			api, err := a.api()
			if err != nil {
				return err
			}
			_, body, err := api.do(cmd.Context(), request{method: "DELETE", path: f.path(""), query: f.query(api)})
			if err != nil {
				return err
			}
			return a.done("ok", json.RawMessage(body))
		},
	}
	f.addWrite(cmd)
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
	return cmd
}

// confirm asks a question if somebody sits at a terminal.
func (a *app) confirm(format string, args ...any) bool {
	if !terminal(a.in) {
		return false
	}
	fmt.Fprintf(a.err, format, args...)
	var answer string
	_, _ = fmt.Fscanln(a.in, &answer)
	return answer == "y" || answer == "yes"
}
