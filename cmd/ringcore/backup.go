package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/vnodes/backup"
)

const (
	partTries   = 5           // at one partition, before the whole is given up
	partPatient = time.Minute // how long a node may be silent over one
)

// backupFlags are those of backup and restore.
type backupFlags struct {
	services []string
	base     string
	parallel int
	merge    bool
	verify   bool
}

func (f *backupFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&f.services, "service", nil, "only these services; all by default")
	cmd.Flags().IntVar(&f.parallel, "parallel", 4, "partitions at a time")
}

func (f *backupFlags) check() error {
	if f.parallel < 1 || f.parallel > 64 {
		return usagef("pass for example --parallel 4", "--parallel is %d, must be 1 to 64", f.parallel)
	}
	return nil
}

func (a *app) backupCommand() *cobra.Command {
	f := &backupFlags{}
	cmd := &cobra.Command{
		Use:   "backup DIR",
		Short: "Copy the records of the running cluster into a new folder",
		Long: "Copy the records of all services, and the properties of buckets, into a folder that this command makes.\n" +
			"Everything that was acknowledged before it began is in it; each partition is as it was at one moment. The\n" +
			"folder gets its name when it is whole. With --base it has only what has changed since that backup, which\n" +
			"is needed too when it is restored: keep the folders side by side.",
		Example: "  ringcore backup /backups/monday\n  ringcore backup /backups/tuesday --base /backups/monday\n  ringcore restore /backups/tuesday --verify",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return a.backup(cmd.Context(), args[0], f)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.base, "base", "", "the folder of an earlier backup of this cluster: only what has changed since")
	return cmd
}

// backupDone is what backup and restore tell of themselves.
type backupDone struct {
	Dir     string        `json:"dir"`
	ID      string        `json:"id"`
	Base    *backup.Base  `json:"base,omitempty"`
	Begun   time.Time     `json:"begun"` // of the backup: what was acknowledged before is in it
	Records int64         `json:"records"`
	Bytes   int64         `json:"bytes"`
	Took    time.Duration `json:"-"`
	TookS   float64       `json:"seconds,omitempty"`
	Damaged string        `json:"damaged,omitempty"` // why it cannot be relied on
}

// note gives d its figures.
func (d *backupDone) note(p *progress) {
	d.Records, d.Bytes, d.Took = p.records.Load(), p.bytes.Load(), time.Since(p.begun)
	d.TookS = d.Took.Seconds()
}

func (d *backupDone) String() string {
	return fmt.Sprintf("%d records, %s in %s (%s/s)", d.Records, size(d.Bytes), d.Took.Round(time.Millisecond), size(int64(float64(d.Bytes)/max(d.TookS, 1e-3))))
}

func (a *app) backup(ctx context.Context, dir string, f *backupFlags) error {
	api, err := a.api()
	if err != nil {
		return err
	}
	defer api.keepConnections(f.parallel)()
	var view admin.BackupView
	if err := api.get(ctx, "/v1/backup", nil, &view); err != nil {
		return err
	}
	m := backup.Manifest{
		ClusterID: view.ClusterID, Begun: view.Time, Version: view.Version, Epoch: view.Epoch, Partitions: view.Partitions, Replicas: view.Replicas,
		Buckets: view.Buckets,
	}
	for _, s := range view.Services {
		if f.services == nil || slices.Contains(f.services, s.Name) {
			m.Services = append(m.Services, backup.Service{Name: s.Name, Replicas: s.Replicas})
		}
	}
	for _, name := range f.services {
		if !slices.ContainsFunc(m.Services, func(s backup.Service) bool { return s.Name == name }) {
			return usagef("the cluster's services are "+serviceNames(view.Services), "there is no service %q", name)
		}
	}
	base, err := f.openBase(&view)
	if err != nil {
		return err
	}
	w, err := backup.Create(dir, m, base)
	if err != nil {
		return fmt.Errorf("begin the backup: %w", err)
	}
	if left := w.Leftovers(); len(left) > 0 {
		a.note("backups to this folder were broken off, and left %v: they can be removed", left)
	}
	p := a.newProgress("backup", len(m.Services)*m.Partitions)
	err = a.backupParts(ctx, api, w, &m, f.parallel, p)
	p.end()
	var set *backup.Set
	if err == nil {
		set, err = w.Finish()
	}
	if err != nil {
		return errors.Join(unfinished("no backup was made", err, "try again when ringcore cluster status is healthy and the disk has room"), w.Abort())
	}
	done := backupDone{Dir: dir, ID: set.ID, Base: set.Base, Begun: set.Begun}
	done.note(p)
	return a.done(done.String()+" in "+dir, done)
}

// serviceNames lists services for people.
func serviceNames(all []admin.BackupService) string {
	text := ""
	for i, s := range all {
		if i > 0 {
			text += ", "
		}
		text += s.Name
	}
	return text
}

// openBase opens the backup that an incremental one is to build on; nil if it is to be full.
func (f *backupFlags) openBase(view *admin.BackupView) (backup.Chain, error) {
	if f.base == "" {
		return nil, nil
	}
	base, err := backup.OpenChain(f.base)
	if err != nil {
		return nil, setFailed(err)
	}
	b := base.Newest()
	switch {
	case b.ClusterID != view.ClusterID:
		return nil, &failure{code: exitRefused, err: fmt.Errorf("%s is a backup of cluster %s, this is %s", f.base, b.ClusterID, view.ClusterID), hint: "make a full backup, without --base"}
	case b.Partitions != view.Partitions:
		return nil, &failure{code: exitRefused, err: fmt.Errorf("%s is of a ring of %d partitions, this one has %d", f.base, b.Partitions, view.Partitions), hint: "make a full backup, without --base"}
	}
	return base, nil
}

// unfinished says of what could not be brought to its end why, and what to do.
func unfinished(what string, err error, hint string) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	code := exitFailed
	if f, ok := errors.AsType[*failure](err); ok {
		code = f.code
	}
	return &failure{code: code, err: fmt.Errorf("%s: %w", what, err), hint: hint}
}

// backupParts reads all partitions of all services, several at a time.
func (a *app) backupParts(ctx context.Context, api *apiClient, w *backup.Writer, m *backup.Manifest, parallel int, p *progress) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, s := range m.Services {
		for part := range m.Partitions {
			if ctx.Err() != nil {
				break
			}
			group.Go(func() error {
				defer p.step()
				return tryPart(ctx, func() error { return backupPart(ctx, api, w, s.Name, part, p) })
			})
		}
	}
	return group.Wait()
}

// tryPart runs fn again when it fails, for a while: a node may have died, or the partition be moving.
func tryPart(ctx context.Context, fn func() error) error {
	for tries := 1; ; tries++ {
		err := fn()
		f, refused := errors.AsType[*failure](err)
		if err == nil || ctx.Err() != nil || tries == partTries || refused && (f.code == exitRefused || f.code == exitUsage) {
			return err
		}
		pause := time.NewTimer(time.Duration(tries) * 150 * time.Millisecond)
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
		pause.Stop()
	}
}

// backupPart reads one partition. What it has counted of a failed try does not count.
func backupPart(ctx context.Context, api *apiClient, w *backup.Writer, service string, part int, p *progress) error {
	r := request{method: http.MethodPost, path: "/v1/backup/" + segment(service) + "/" + strconv.Itoa(part), body: w.Known(service, part)}
	var records, bytes int64
	err := api.follow(ctx, r, func(body io.Reader) error {
		return w.Part(service, part, body, func(n int) {
			records, bytes = records+1, bytes+int64(n)
			p.add(1, int64(n))
		})
	})
	if err != nil {
		p.add(-records, -bytes)
		return fmt.Errorf("read partition %d of service %s: %w", part, service, err)
	}
	return nil
}

// follow sends r and lets read have the body as it arrives, for as long as it takes: it
// ends only when nothing comes for long. r may be sent twice.
func (c *apiClient) follow(ctx context.Context, r request, read func(io.Reader) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := max(c.timeout, partPatient)
	silent := time.AfterFunc(patience, func() { cancel(fmt.Errorf("the node has sent nothing for %s", patience)) })
	defer silent.Stop()
	res, err := c.send(ctx, r)
	if err == nil {
		defer res.Body.Close()
		err = read(readerFunc(func(b []byte) (int, error) {
			n, err := res.Body.Read(b)
			silent.Reset(patience)
			return n, err
		}))
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// readerFunc is a function that reads.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// setFailed gives an error of a backup's folder its exit code and its hint.
func setFailed(err error) error {
	switch {
	case errors.Is(err, backup.ErrDamaged):
		return &failure{code: exitFailed, err: err, hint: "nothing was done with it: use another backup; ringcore restore DIR --verify checks one"}
	case errors.Is(err, backup.ErrNoBackup):
		return &failure{code: exitFailed, err: err, hint: "pass the folder that ringcore backup has made, and keep those beside it that it builds on"}
	}
	return err
}
