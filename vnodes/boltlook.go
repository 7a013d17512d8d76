package vnodes

import (
	"encoding/binary"
	"io"
)

// lookBolt is the value under key in a top-level bucket of the database file r of
// the given size, read page by page. The error wraps ErrCorrupt if it is not there.
func lookBolt(r io.ReaderAt, size int64, bucket, key string) ([]byte, error) {
	c := boltChecker{r: r}
	root, err := c.readMeta(size)
	if err != nil {
		return nil, err
	}
	p, err := c.page(root)
	if err != nil {
		return nil, err
	}
	b, err := c.look(p, bucket, true, 0)
	if err != nil {
		return nil, err
	}
	if len(b) < boltBucket {
		return nil, corruptBolt("a bucket of %d bytes", len(b))
	}
	if root := binary.NativeEndian.Uint64(b); root != 0 {
		if p, err = c.page(root); err != nil {
			return nil, err
		}
	} else {
		p = &boltPage{head: b[boltBucket:], size: uint64(len(b) - boltBucket)}
	}
	return c.look(p, key, false, 0)
}

// look is the value under key in the tree below p, a bucket's if that is asked for.
func (c *boltChecker) look(p *boltPage, key string, bucket bool, depth int) ([]byte, error) {
	ne := binary.NativeEndian
	if p.size < boltPageHeader || uint64(len(p.head)) < boltPageHeader || depth > boltMaxDepth {
		return nil, corruptBolt("page %d is no page of a tree", p.id)
	}
	leaf := ne.Uint16(p.head[8:]) == boltLeafPage
	child := uint64(0)
	for i := range p.elements() {
		at := boltPageHeader + i*boltElement
		e, err := p.bytes(at, boltElement)
		if err != nil {
			return nil, err
		}
		pos, klen := uint64(ne.Uint32(e)), uint64(ne.Uint32(e[4:]))
		if leaf {
			pos, klen = uint64(ne.Uint32(e[4:])), uint64(ne.Uint32(e[8:]))
		}
		k, err := p.bytes(at+pos, klen)
		if err != nil {
			return nil, err
		}
		switch {
		case !leaf && (i == 0 || string(k) <= key):
			child = ne.Uint64(e[8:])
		case leaf && string(k) == key && (ne.Uint32(e)&boltBucketFlag != 0) == bucket:
			return p.bytes(at+pos+klen, uint64(ne.Uint32(e[12:])))
		}
	}
	if leaf {
		return nil, corruptBolt("%q is not there", key)
	}
	next, err := c.page(child)
	if err != nil {
		return nil, err
	}
	return c.look(next, key, bucket, depth+1)
}
