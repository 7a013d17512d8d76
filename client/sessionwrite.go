package client

import (
	"context"

	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// Put is Client.Put, in the Session: it waits for a majority at least.
func (s *Session) Put(ctx context.Context, bucket string, key, value []byte, o WriteOptions) error {
	s.strengthen(&o)
	if o.cond() != 0 {
		err := s.client.Put(ctx, bucket, key, value, o)
		if err == nil {
			s.wrote(ring.HashKey(bucket, key), 0)
		}
		return err
	}
	if err := checkPut(bucket, key, value); err != nil {
		return err
	}
	return s.write(ctx, bucket, key, &codec.Command{Op: codec.OpPut, Context: o.Context.seen, Expires: codec.Expiry(o.Expires), Value: value}, &o)
}

// Delete is Client.Delete, in the Session: what there was is read as by Get, and it waits for
// a majority at least.
func (s *Session) Delete(ctx context.Context, bucket string, key []byte, o WriteOptions) (Object, error) {
	if s.client.view.Load().ring.N == 1 {
		return s.client.Delete(ctx, bucket, key, o)
	}
	s.strengthen(&o)
	ctx, cancel := context.WithDeadline(ctx, deadline(ctx, o.Timeout, s.client.cfg.Timeout))
	defer cancel()
	old, err := s.Get(ctx, bucket, key, ReadOptions{Sloppy: o.Sloppy, Timeout: o.Timeout})
	if err != nil {
		return Object{}, err
	}
	seen := o.Context
	if seen.IsZero() {
		seen = old.Context
	}
	return old, s.write(ctx, bucket, key, &codec.Command{Op: codec.OpDelete, Context: seen.seen}, &o)
}

// PutMany is Client.PutMany, in the Session: each write waits for a majority at least.
func (s *Session) PutMany(ctx context.Context, bucket string, writes []Write, o WriteOptions) error {
	s.strengthen(&o)
	failed := failures{n: len(writes)}
	s.client.writeMany(ctx, bucket, writes, &o, func(i int, id uint64, err error) {
		failed.add(i, err)
		if err == nil {
			s.wrote(ring.HashKey(bucket, writes[i].Key), id)
		}
	})
	return failed.asError()
}

// write makes a blind write, and remembers it.
func (s *Session) write(ctx context.Context, bucket string, key []byte, cmd *codec.Command, o *WriteOptions) error {
	r := writeRequest(bucket, key, codec.AppendCommand(make([]byte, 0, cmd.Size()), cmd), o)
	r.deadline = deadline(ctx, o.Timeout, s.client.cfg.Timeout)
	_, err := s.client.do(ctx, &r)
	if err == nil {
		s.wrote(ring.HashKey(bucket, key), r.call.ID)
	}
	return err
}

// strengthen has a write wait for a majority of the replicas, fallbacks not counted.
func (s *Session) strengthen(o *WriteOptions) {
	if n := s.client.view.Load().ring.N; n > 1 {
		o.PW = majorityAtLeast(o.PW, n)
	}
}
