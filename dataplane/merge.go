package dataplane

import (
	"bytes"
	"fmt"
	"io"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// source yields items in key order, then io.EOF. An item is valid until the next call.
type source interface {
	next() (*wire.Item, error)
	close() // may be called again
}

// primed is a source whose first item, or end, was fetched before anybody asked for it.
type primed struct {
	source
	first *wire.Item
	err   error
}

// prime fetches the first item of s.
func prime(s source) (source, error) {
	p := &primed{source: s}
	if p.first, p.err = s.next(); p.err != nil && p.err != io.EOF {
		return s, p.err
	}
	return p, nil
}

func (p *primed) next() (*wire.Item, error) {
	if it := p.first; it != nil || p.err != nil {
		p.first = nil
		return it, p.err
	}
	return p.source.next()
}

// sourceError says which source of a merge failed.
type sourceError struct {
	source int
	err    error
}

func (e *sourceError) Error() string { return fmt.Sprintf("source %d: %v", e.source, e.err) }
func (e *sourceError) Unwrap() error { return e.err }

// position is how far into the key order a merge has come: behind key, once it has begun.
type position struct {
	begun bool
	key   []byte
}

// passed reports whether key lies at or before p.
func (p *position) passed(key []byte) bool { return p.begun && bytes.Compare(key, p.key) <= 0 }

func (p *position) advance(key []byte) { p.begun, p.key = true, append(p.key[:0], key...) }

// combiner makes one item of two versions of it.
type combiner func(a, b *wire.Item) (wire.Item, error)

// merge hands over each key of the sources behind at, once and in key order: the
// newest of its versions, or what combine makes of all, and the source that the newest
// came from. Tombstones are handed over like any other: who delivers items drops them.
// at advances with each key that was handed over without error. A failure of a source
// is a *sourceError.
//
// There are as many sources as replicas are read, so that looking through all of
// them for the smallest key is faster than a heap.
func merge(sources []source, at *position, combine combiner, deliver func(source int, it *wire.Item) error) error {
	heads := make([]*wire.Item, len(sources))
	for i := range sources {
		if err := advance(sources, heads, i, at); err != nil {
			return err
		}
	}
	for {
		w := newest(heads)
		if w < 0 {
			return nil
		}
		it := heads[w]
		if combine != nil {
			merged, err := combined(heads, w, combine)
			if err != nil {
				return err
			}
			it = &merged
		}
		if err := deliver(w, it); err != nil {
			return err
		}
		at.advance(heads[w].Key)
		for i := range heads {
			if heads[i] == nil || !at.passed(heads[i].Key) {
				continue
			}
			if err := advance(sources, heads, i, at); err != nil {
				return err
			}
		}
	}
}

// combined is what combine makes of all heads that have the key of head w.
func combined(heads []*wire.Item, w int, combine combiner) (wire.Item, error) {
	it := *heads[w]
	for i, other := range heads {
		if i == w || other == nil || !bytes.Equal(other.Key, heads[w].Key) {
			continue
		}
		var err error
		if it, err = combine(&it, other); err != nil {
			return it, err
		}
	}
	it.Key = heads[w].Key
	return it, nil
}

// newest is the source whose head has the smallest key, and of those that share it
// the newest stamp; -1 if all are at their end.
func newest(heads []*wire.Item) int {
	w := -1
	for i, it := range heads {
		if it == nil {
			continue
		}
		if w >= 0 {
			c := bytes.Compare(it.Key, heads[w].Key)
			if c > 0 || c == 0 && it.Stamp.Compare(heads[w].Stamp) <= 0 {
				continue
			}
		}
		w = i
	}
	return w
}

// advance moves source i to its first item behind at; its head is nil at the end.
func advance(sources []source, heads []*wire.Item, i int, at *position) error {
	for {
		it, err := sources[i].next()
		switch {
		case err == io.EOF:
			heads[i] = nil
			return nil
		case err != nil:
			return &sourceError{i, err}
		case !at.passed(it.Key):
			heads[i] = it
			return nil
		}
	}
}
