package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes"
	"github.com/ringcore/ringcore/vnodes/backup"
)

// restoreBody is about how many bytes of records go with one request.
const restoreBody = 4 << 20

func (a *app) restoreCommand() *cobra.Command {
	f := &backupFlags{}
	cmd := &cobra.Command{
		Use:   "restore DIR",
		Short: "Put a backup's records into the running cluster",
		Long: "Put the records of a backup, and the properties of its buckets, into the running cluster, which may have other\n" +
			"nodes, replicas and partitions than the one that the backup is of. The backup is verified first; a damaged or\n" +
			"incomplete one is refused, and so is a cluster that holds records already, unless --merge says otherwise.",
		Example: "  ringcore restore /backups/tuesday --verify\n  ringcore restore /backups/tuesday",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			chain, err := backup.OpenChain(args[0])
			if err != nil {
				return setFailed(err)
			}
			if f.verify {
				return a.verifyBackup(cmd.Context(), chain)
			}
			return a.restore(cmd.Context(), chain, f)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&f.verify, "verify", false, "only check the backup, and those it builds on: no cluster is needed")
	cmd.Flags().BoolVar(&f.merge, "merge", false, "also into a cluster that holds records: the backup's take the place of those under the same keys, or stand beside them as siblings")
	return cmd
}

// verifySets reads all of a backup and of those that it builds on.
func (a *app) verifySets(ctx context.Context, chain backup.Chain) (*progress, error) {
	parts := 0
	for _, s := range chain {
		for i := range s.Services {
			parts += len(s.Services[i].Parts)
		}
	}
	p := a.newProgress("verify", parts)
	defer p.end()
	for _, s := range chain {
		err := s.Verify(func(n int) error {
			p.add(1, int64(n))
			return ctx.Err()
		}, p.step)
		if err != nil {
			return p, err
		}
	}
	return p, nil
}

// verifyBackup is restore --verify.
func (a *app) verifyBackup(ctx context.Context, chain backup.Chain) error {
	p, err := a.verifySets(ctx, chain)
	if err != nil {
		return setFailed(err)
	}
	rows := [][]string{}
	var done []backupDone
	for _, s := range chain {
		d := backupDone{Dir: s.Dir, ID: s.ID, Base: s.Base, Begun: s.Begun}
		d.Records, d.Bytes = s.Size()
		done = append(done, d)
		kind := "full"
		if s.Base != nil {
			kind = "since " + s.Base.Dir
		}
		rows = append(rows, []string{s.Dir, s.Begun.Local().Format(time.DateTime), kind, strconv.FormatInt(d.Records, 10), size(d.Bytes)})
	}
	if a.json() {
		return a.printJSON(done)
	}
	if err := printTable(a.out, "DIR BEGUN KIND RECORDS BYTES", rows); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, "whole and undamaged: %d records, %s read in %s\n", p.records.Load(), size(p.bytes.Load()), time.Since(p.begun).Round(time.Millisecond))
	return err
}

// restore puts a backup into the cluster.
func (a *app) restore(ctx context.Context, chain backup.Chain, f *backupFlags) error {
	api, err := a.api()
	if err != nil {
		return err
	}
	defer api.keepConnections(f.parallel)()
	var view admin.BackupView
	if err := api.get(ctx, "/v1/backup", nil, &view); err != nil {
		return err
	}
	services, err := f.restored(chain.Newest(), &view)
	if err != nil {
		return err
	}
	if _, err := a.verifySets(ctx, chain); err != nil {
		return setFailed(err)
	}
	if !f.merge {
		if err := checkEmpty(ctx, api, &view, services); err != nil {
			return err
		}
	}
	if err := a.restoreBuckets(ctx, api, chain.Newest().Buckets, &view); err != nil {
		return err
	}
	p := a.newProgress("restore", len(services)*chain.Newest().Partitions)
	err = restoreParts(ctx, api, chain, services, f.parallel, p)
	p.end()
	if err != nil {
		return unfinished("the backup was not restored whole", err, "run it again with --merge when ringcore cluster status is healthy: what is there already is stored once more")
	}
	done := backupDone{Dir: chain.Newest().Dir, ID: chain.Newest().ID, Base: chain.Newest().Base, Begun: chain.Newest().Begun}
	done.note(p)
	return a.done("restored "+done.String(), done)
}

// restored are the services that are to be restored, if the cluster can take them.
func (f *backupFlags) restored(s *backup.Set, view *admin.BackupView) ([]string, error) {
	var names []string
	for _, sv := range s.Services {
		if f.services != nil && !slices.Contains(f.services, sv.Name) {
			continue
		}
		if !slices.ContainsFunc(view.Services, func(x admin.BackupService) bool { return x.Name == sv.Name }) {
			return nil, &failure{
				code: exitRefused, err: fmt.Errorf("the backup holds service %q, and the cluster has only %s", sv.Name, serviceNames(view.Services)),
				hint: "start the nodes with the program that has it, or choose others with --service",
			}
		}
		names = append(names, sv.Name)
	}
	for _, name := range f.services {
		if !slices.Contains(names, name) {
			return nil, usagef("", "the backup holds no service %q", name)
		}
	}
	if ahead := s.Newest.Sub(view.Time); ahead > 0 {
		return nil, &failure{
			code: exitRefused, err: fmt.Errorf("the backup holds records written %s ahead of the cluster's clock: new writes would lie behind them", ahead.Round(time.Millisecond)),
			hint: "set the clocks of the nodes",
		}
	}
	return names, nil
}

// checkEmpty refuses a cluster that holds records of the services.
func checkEmpty(ctx context.Context, api *apiClient, view *admin.BackupView, services []string) error {
	errFound := errors.New("there are records")
	var empty vnodes.Tree
	for _, service := range services {
		for part := range view.Partitions {
			r := request{method: http.MethodPost, path: "/v1/backup/" + segment(service) + "/" + strconv.Itoa(part), body: empty.Append(nil)}
			err := tryPart(ctx, func() error {
				err := api.follow(ctx, r, func(body io.Reader) error {
					_, err := wire.NewBlockReader(body).Item(nil)
					if err == nil {
						return errFound
					}
					if err == io.EOF {
						return nil
					}
					return err
				})
				if errors.Is(err, errFound) {
					return &failure{
						code: exitRefused, err: fmt.Errorf("the cluster holds records of service %s already", service),
						hint: "restore into a new cluster; or pass --merge: the backup's records then take the place of those under the same keys, and others stay",
					}
				}
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// restoreBuckets gives buckets the properties that they had.
func (a *app) restoreBuckets(ctx context.Context, api *apiClient, buckets map[string]wire.BucketProps, view *admin.BackupView) error {
	for _, name := range slices.Sorted(maps.Keys(buckets)) {
		props := buckets[name]
		change := wire.BucketChange{R: &props.R, W: &props.W, PR: &props.PR, PW: &props.PW, Sloppy: &props.Sloppy, Siblings: &props.Siblings}
		for _, q := range []**wire.Quorum{&change.R, &change.W, &change.PR, &change.PW} {
			if **q <= wire.MaxQuorum && int(**q) > view.Replicas {
				a.note("bucket %q asks for %d replicas, and this cluster has %d: that property is left to the default", name, **q, view.Replicas)
				*q = nil
			}
		}
		body, err := json.Marshal(change)
		if err != nil {
			return err
		}
		if _, _, err := api.do(ctx, request{method: http.MethodPut, path: "/v1/buckets/" + segment(name), body: body}); err != nil {
			return fmt.Errorf("properties of bucket %q: %w", name, err)
		}
	}
	return nil
}

// restoreParts stores all partitions of the services, several at a time.
func restoreParts(ctx context.Context, api *apiClient, chain backup.Chain, services []string, parallel int, p *progress) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, service := range services {
		for part := range chain.Newest().Partitions {
			if ctx.Err() != nil {
				break
			}
			group.Go(func() error {
				defer p.step()
				return restorePart(ctx, api, chain, service, part, p)
			})
		}
	}
	return group.Wait()
}

// restorePart stores one partition, a few megabytes at a time.
func restorePart(ctx context.Context, api *apiClient, chain backup.Chain, service string, part int, p *progress) error {
	r := request{
		method: http.MethodPost, path: "/v1/restore/" + segment(service) + "/" + strconv.Itoa(part),
		query: url.Values{"of": {strconv.Itoa(chain.Newest().Partitions)}}, header: http.Header{"Content-Type": {admin.RecordBlocks}},
	}
	var buf bytes.Buffer
	var records, size int64
	out := wire.NewBlockWriter(&buf)
	send := func() error {
		if records == 0 {
			return nil
		}
		if err := out.End(); err != nil {
			return err
		}
		r.body = buf.Bytes()
		err := tryPart(ctx, func() error {
			var done admin.Restored
			err := api.follow(ctx, r, func(body io.Reader) error { return json.NewDecoder(body).Decode(&done) })
			if err == nil && done.Records != records {
				err = fmt.Errorf("the node has stored %d of %d", done.Records, records)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("store records of partition %d of service %s: %w", part, service, err)
		}
		p.add(records, size)
		buf.Reset()
		out, records, size = wire.NewBlockWriter(&buf), 0, 0
		return nil
	}
	err := chain.Records(service, part, send, func(it *wire.Item) error {
		records++
		size += int64(len(it.Key) + len(it.Value))
		if err := out.Item(it); err != nil || buf.Len() < restoreBody {
			return err
		}
		return send()
	})
	if err != nil {
		return err
	}
	return send()
}
