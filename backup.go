package ringcore

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes"
)

// backupCapability says that a node can read records for a backup, and take them back.
const backupCapability = "backup"

// A restore stores so many bytes of records with one command, and so many commands of
// one request are under way at a time.
const (
	restoreBatch    = 256 << 10
	restoreParallel = 8
	restoreTimeout  = 30 * time.Second // of a command
)

// leafTries is how often the leaves that have changed are looked for. Where commands change
// further ones before these are read, all are read in the end.
const leafTries = 3

// backupCore is the node's cluster, if it serves one whose members can all make backups.
func (v view) backupCore() (*core, error) {
	c, err := v.n.serving()
	if err == nil && c.capability(backupCapability) < 1 {
		err = wire.Errorf(wire.NotSupported, "some member is of a version that knows no backups: ringcore cluster capabilities shows which; upgrade it")
	}
	return c, err
}

// Backup tells what a backup is made of.
func (v view) Backup(context.Context) (admin.BackupView, error) {
	c, err := v.backupCore()
	if err != nil {
		return admin.BackupView{}, err
	}
	st := c.meta.State()
	b := admin.BackupView{
		ClusterID: st.ClusterID, Time: time.Now().UTC(), Version: v.n.cfg.version(), Epoch: uint64(st.Epoch),
		Partitions: st.Ring.Q(), Replicas: st.Ring.N, Buckets: make(map[string]wire.BucketProps),
	}
	maps.Copy(b.Buckets, st.Buckets)
	for _, s := range c.vnodes.Services() {
		b.Services = append(b.Services, admin.BackupService{Name: s.Name, Replicas: s.N})
	}
	slices.SortFunc(b.Services, func(x, y admin.BackupService) int { return cmp.Compare(x.Name, y.Name) })
	return b, nil
}

// Fold reads a partition's records that are not in known.
func (v view) Fold(ctx context.Context, service string, partition int, known []byte, begin func(leaves []byte) error, emit func(*wire.Item) error) error {
	c, err := v.backupCore()
	if err != nil {
		return err
	}
	p := ring.Partition(partition)
	if partition < 0 || partition >= c.meta.Ring().Q() {
		return wire.Errorf(wire.NotFound, "there is no partition %d", partition)
	}
	if len(known) == 0 {
		return c.foldRecords(ctx, service, p, vnodes.AllLeaves(), nil, begin, emit)
	}
	tree, ok := vnodes.ParseTree(known)
	if !ok {
		return wire.Errorf(wire.BadRequest, "a hash tree has %d bytes, not %d", vnodes.TreeSize, len(known))
	}
	var leaves vnodes.Leaves
	for range leafTries {
		err := c.router.Fold(ctx, service, p, vnodes.FoldDiffer(&tree), func(it *wire.Item) error {
			differ, ok := vnodes.ParseLeaves(it.Value)
			if !ok {
				return wire.ErrBody
			}
			leaves.Add(&differ)
			return nil
		})
		if err == nil && !leaves.Empty() {
			err = c.foldRecords(ctx, service, p, leaves, &tree, begin, emit)
		} else if err == nil {
			err = begin(leaves[:])
		}
		if e, ok := errors.AsType[*wire.Error](err); !ok || e.Code != wire.Conflict {
			return err
		}
	}
	return c.foldRecords(ctx, service, p, vnodes.AllLeaves(), nil, begin, emit)
}

// foldRecords reads a partition's records in leaves; the others must be as rest says.
func (c *core) foldRecords(ctx context.Context, service string, p ring.Partition, leaves vnodes.Leaves, rest *vnodes.Tree,
	begin func(leaves []byte) error, emit func(*wire.Item) error,
) error {
	begun := false
	err := c.router.Fold(ctx, service, p, vnodes.FoldRecords(&leaves, rest), func(it *wire.Item) error {
		if !begun { // not before: a refusal can still be told as such
			begun = true
			if err := begin(leaves[:]); err != nil {
				return err
			}
		}
		return emit(it)
	})
	if err == nil && !begun {
		err = begin(leaves[:])
	}
	return err
}

// restoring is one request's records on their way to the vnodes.
type restoring struct {
	c       *core
	service string
	group   *errgroup.Group
	ctx     context.Context
	batches map[ring.Partition]*restoreWrites
}

// restoreWrites gathers the records of one partition.
type restoreWrites struct {
	writes []vnodes.Write
	size   int
}

// Restore stores records of a partition of a ring of so many.
func (v view) Restore(ctx context.Context, service string, partition, of int, next func() (wire.Item, error)) (admin.Restored, error) {
	var done admin.Restored
	c, err := v.backupCore()
	if err != nil {
		return done, err
	}
	if !ring.ValidPartitions(of) || partition < 0 || partition >= of {
		return done, wire.Errorf(wire.BadRequest, "there is no partition %d in a ring of %d", partition, of)
	}
	x := &restoring{c: c, service: service, batches: make(map[ring.Partition]*restoreWrites)}
	x.group, x.ctx = errgroup.WithContext(ctx)
	x.group.SetLimit(restoreParallel)
	for {
		it, err := next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = x.add(&it, ring.Partition(partition), of)
		}
		if err != nil {
			return done, cmp.Or(x.group.Wait(), err) // a batch that failed is why the others were given up
		}
		done.Records++
	}
	for p := range x.batches {
		x.flush(p)
	}
	return done, x.group.Wait()
}

// add puts a record with those of the partition that it belongs to now.
func (x *restoring) add(it *wire.Item, from ring.Partition, of int) error {
	p, err := x.c.vnodes.Place(x.service, it.Key, from, of, x.c.meta.Ring().Q())
	if err != nil {
		return err
	}
	b := x.batches[p]
	if b == nil {
		b = &restoreWrites{}
		x.batches[p] = b
	}
	w := vnodes.Write{Key: slices.Clone(it.Key), Record: vnodes.Record{Stamp: it.Stamp, Value: slices.Clone(it.Value)}}
	b.writes = append(b.writes, w)
	if b.size += len(w.Key) + len(w.Record.Value) + 64; b.size >= restoreBatch {
		x.flush(p)
	}
	return x.ctx.Err()
}

// flush sends what has gathered for p.
func (x *restoring) flush(p ring.Partition) {
	b := x.batches[p]
	delete(x.batches, p)
	body := vnodes.AppendWrites(nil, b.writes)
	x.group.Go(func() error {
		ctx, cancel := context.WithTimeout(x.ctx, restoreTimeout)
		defer cancel()
		return x.c.router.Restore(ctx, x.service, p, body)
	})
}
