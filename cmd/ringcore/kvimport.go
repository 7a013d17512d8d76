package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes/kv"
)

// maxLine bounds a line that is imported: the longest value in base64, escaped, and a key.
const maxLine = 32 << 20

func (a *app) kvImport(f *kvFlags) *cobra.Command {
	parallel := 32
	cmd := &cobra.Command{
		Use:   "import [FILE]",
		Short: "Put keys and values that kv export has written",
		Long: "Put the keys and values of lines of JSON, as kv export writes them, from FILE or stdin. Each takes the place of what is\n" +
			"there under its key, so it can be run again; what has expired is left out. They go to the buckets that the lines name,\n" +
			"or all to that of --bucket. Properties of buckets are not part of an export: set them before.",
		Example: "  ringcore kv import everything.jsonl\n  ringcore kv import --bucket copy <carts.jsonl",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if parallel < 1 || parallel > 1024 {
				return usagef("pass for example --parallel 32", "--parallel is %d, must be 1 to 1024", parallel)
			}
			in := a.in
			if len(args) > 0 {
				file, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer func() { _ = file.Close() }() // only read
				in = file
			}
			api, err := a.api()
			if err != nil {
				return err
			}
			defer api.keepConnections(parallel)()
			x := &importing{api: api, f: f, siblings: map[string]bool{}}
			if cmd.Flags().Changed("bucket") {
				x.into = f.bucket
			}
			return a.imports(cmd.Context(), x, in, parallel)
		},
	}
	f.addWrite(cmd)
	cmd.Flags().IntVar(&parallel, "parallel", parallel, "keys at a time")
	return cmd
}

// importing is an import under way.
type importing struct {
	api  *apiClient
	f    *kvFlags
	into string // the bucket for all; empty: each line's

	keys, expired, shrunk atomic.Int64 // keys put, left out, and put with one of several values

	mu       sync.Mutex // held for a map operation, and to ask for a bucket's properties
	siblings map[string]bool
}

// imports puts all lines of in, several at a time. The first error ends it.
func (a *app) imports(ctx context.Context, x *importing, in io.Reader, parallel int) error {
	begun := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	lines := bufio.NewReaderSize(in, 1<<20)
	for n := 1; ctx.Err() == nil; n++ {
		b, err := readLine(lines)
		if err == io.EOF {
			break
		}
		if err == nil && len(bytes.TrimSpace(b)) == 0 {
			continue
		}
		var line kvLine
		if err == nil {
			err = parseLine(b, &line)
		}
		if err != nil {
			err = &failure{code: exitUsage, err: fmt.Errorf("line %d: %w", n, err), hint: "a line is as kv export writes it; those before it were put"}
			return errors.Join(group.Wait(), err)
		}
		group.Go(func() error {
			if err := tryPart(ctx, func() error { return x.put(ctx, &line) }); err != nil {
				return fmt.Errorf("line %d: %w", n, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if n := x.shrunk.Load(); n > 0 {
		a.note("%d keys had several values, and their buckets keep one: the newest was put", n)
	}
	if n := x.expired.Load(); n > 0 {
		a.note("%d keys had expired and were left out", n)
	}
	keys, took := x.keys.Load(), time.Since(begun)
	return a.done(fmt.Sprintf("%d keys in %s", keys, took.Round(time.Millisecond)),
		map[string]any{"keys": keys, "expired": x.expired.Load(), "shrunk": x.shrunk.Load(), "seconds": took.Seconds()})
}

// readLine reads a line of any length up to maxLine.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		piece, err := r.ReadSlice('\n')
		line = append(line, piece...)
		switch {
		case len(line) > maxLine:
			return nil, fmt.Errorf("it is longer than %d bytes", maxLine)
		case err == io.EOF && len(line) > 0, err == nil:
			return line, nil
		case err != bufio.ErrBufferFull:
			return nil, err
		}
	}
}

func parseLine(b []byte, line *kvLine) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	switch err := d.Decode(line); {
	case err != nil:
		return err
	case len(line.Bucket) == 0 || len(line.Key) == 0:
		return errors.New("it has no bucket or no key")
	case (line.Value == nil) == (len(line.Siblings) == 0):
		return errors.New("it has neither a value nor siblings, or both")
	}
	return nil
}

// put stores what line says of its key, in the place of what is there.
func (x *importing) put(ctx context.Context, line *kvLine) error {
	if x.into != "" {
		line.Bucket = text(x.into)
	}
	values := slices.DeleteFunc(line.values(), func(v kvValue) bool { return !v.Expires.IsZero() && !v.Expires.After(time.Now()) })
	if len(values) == 0 {
		x.expired.Add(1)
		return nil
	}
	keeps, err := x.keeps(ctx, string(line.Bucket))
	if err != nil {
		return err
	}
	path := "/v1/kv/" + segment(string(line.Bucket)) + "/" + segment(string(line.Key))
	h := http.Header{}
	switch {
	case keeps: // the first one replaces what is there, the others stand beside it
		res, _, err := x.api.do(ctx, request{method: http.MethodHead, path: path, query: x.f.query(x.api)})
		p, refused := errors.AsType[*problemError](err)
		switch {
		case err == nil:
			h.Set(kv.ContextHeader, res.Header.Get(kv.ContextHeader))
		case !refused || p.status != http.StatusNotFound: // the answer to a HEAD has no code
			return err
		}
	case len(values) > 1:
		x.shrunk.Add(1)
		values = values[:1]
	}
	for _, v := range slices.Backward(values) {
		q := x.f.query(x.api)
		if !v.Expires.IsZero() {
			q.Set("expires", v.Expires.Format(time.RFC3339Nano))
		}
		if _, _, err := x.api.do(ctx, request{method: http.MethodPut, path: path, query: q, header: h, body: v.Value}); err != nil {
			return err
		}
		h = http.Header{}
	}
	x.keys.Add(1)
	return nil
}

// keeps reports whether a bucket keeps siblings.
func (x *importing) keeps(ctx context.Context, bucket string) (bool, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if keeps, ok := x.siblings[bucket]; ok {
		return keeps, nil
	}
	var props wire.BucketProps
	if err := x.api.get(ctx, "/v1/buckets/"+segment(bucket), url.Values{}, &props); err != nil {
		return false, err
	}
	x.siblings[bucket] = props.Siblings
	return props.Siblings, nil
}
