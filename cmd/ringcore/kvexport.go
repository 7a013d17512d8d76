package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

func (a *app) kvExport(f *kvFlags) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write the keys and values of a bucket, or of all, as lines of JSON",
		Long: "Write the keys and values of a bucket, or of all, as lines of JSON: siblings and times of expiry too, bytes that are\n" +
			"no text in base64. Without FILE they go to stdout; FILE gets its name when it is whole.",
		Example: "  ringcore kv export --bucket carts >carts.jsonl\n  ringcore kv export --all everything.jsonl",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			x := &exporting{bucket: f.bucket, out: bufio.NewWriterSize(a.out, 64<<10)}
			if all {
				x.bucket = ""
			}
			if len(args) == 0 {
				if err := a.export(cmd.Context(), x); err != nil {
					return err
				}
				a.note("%d keys", x.p.records.Load())
				return nil
			}
			return a.exportTo(cmd.Context(), x, args[0])
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all buckets")
	return cmd
}

// exporting is an export under way.
type exporting struct {
	bucket string // all if empty
	p      *progress

	mu  sync.Mutex // held to write a line
	out *bufio.Writer
}

// exportTo writes to a file of that name, whole or not at all.
func (a *app) exportTo(ctx context.Context, x *exporting, name string) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".partial-")
	if err != nil {
		return err
	}
	x.out.Reset(tmp)
	err = a.export(ctx, x)
	if err == nil {
		err = tmp.Sync()
	}
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return a.done(fmt.Sprintf("%d keys in %s", x.p.records.Load(), name), map[string]any{"file": name, "keys": x.p.records.Load()})
}

// export writes all lines.
func (a *app) export(ctx context.Context, x *exporting) error {
	api, err := a.api()
	if err != nil {
		return err
	}
	defer api.keepConnections(4)()
	var view admin.BackupView
	if err := api.get(ctx, "/v1/backup", nil, &view); err != nil {
		return err
	}
	x.p = a.newProgress("export", view.Partitions)
	defer x.p.end()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for part := range view.Partitions {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			defer x.p.step()
			return x.part(ctx, api, part)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return x.out.Flush()
}

// part writes a partition's lines. It is tried again as long as none is written.
func (x *exporting) part(ctx context.Context, api *apiClient, part int) error {
	r := request{method: http.MethodPost, path: "/v1/backup/" + codec.Service + "/" + strconv.Itoa(part)}
	var broken error
	err := tryPart(ctx, func() error {
		written := false
		err := api.follow(ctx, r, func(body io.Reader) error {
			in := wire.NewBlockReader(body)
			for {
				it, err := in.Item(nil)
				if err == io.EOF {
					return nil
				}
				if err == nil {
					written = true
					err = x.line(&it)
				}
				if err != nil {
					return err
				}
			}
		})
		if written {
			broken = err
			return nil
		}
		return err
	})
	if err = errors.Join(err, broken); err != nil && ctx.Err() == nil {
		return fmt.Errorf("export partition %d: %w", part, err)
	}
	return err
}

func (x *exporting) line(it *wire.Item) error {
	line, ok, err := lineOf(it, time.Now())
	if err != nil || !ok || x.bucket != "" && string(line.Bucket) != x.bucket {
		return err
	}
	b, err := json.Marshal(&line)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.p.add(1, int64(len(b)+1))
	_, err = x.out.Write(append(b, '\n'))
	return err
}
