package vnodes

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// A bbolt file (format version 2) is a row of pages, integers in the machine's
// order. Pages 0 and 1 hold the meta; the valid one with the higher transaction
// id counts. A tree of branch and leaf pages holds a bucket; a leaf element with
// the bucket flag holds another tree's root, or, if that is 0, the tree's only
// page, inline.
//
//	page:           id u64 | flags u16 | count u16 | overflow u32 | elements | keys and values
//	branch element: pos u32 | key length u32 | page id u64
//	leaf element:   flags u32 | pos u32 | key length u32 | value length u32
//	meta:           magic, version, page size, flags u32 | root, sequence, free list, page count, txid, FNV-1a u64
//	bucket:         root u64 | sequence u64 | inline page
//
// pos counts from the element's own first byte to its key, which its value follows.
const (
	boltMagic      = 0xED0CDAED
	boltVersion    = 2
	boltPageHeader = 16
	boltElement    = 16
	boltMetaSize   = 64
	boltBucket     = 16
	boltBranchPage = 0x01
	boltLeafPage   = 0x02
	boltBucketFlag = 0x01
	boltMaxDepth   = 64
)

// boltChecker walks the trees of a file.
type boltChecker struct {
	r        io.ReaderAt
	pageSize int64
	pages    uint64
	seen     []bool // by page id: part of a tree already

	path    [][]byte                            // names of the buckets around
	verify  func(key []byte, v boltValue) error // told of every record, if not nil
	records int64                               // records seen
	state   []byte                              // the store's sealed state, if it was seen
}

// boltValue is where a value lies.
type boltValue struct {
	page   *boltPage
	off, n uint64
}

// checkBoltPages reports, wrapping ErrCorrupt, whatever bbolt would stumble over
// in the trees of a database file of the given size: its pages, their elements'
// bounds and the keys' order; and, in a store's file, that there are as many
// records as the file says: a damaged count of a page would hide some, and bbolt
// would say that they are not there. It does not look at the records' values.
func checkBoltPages(r io.ReaderAt, size int64) error {
	c := boltChecker{r: r}
	return c.check(size)
}

func (c *boltChecker) check(size int64) error {
	root, err := c.readMeta(size)
	if err != nil {
		return err
	}
	if err := c.tree(root, nil, nil, 0); err != nil || c.state == nil {
		return err
	}
	state, err := decodeFileState(c.state)
	if err == nil && state.digest.Records != c.records {
		err = corruptBolt("it holds %d records of %d", c.records, state.digest.Records)
	}
	return err
}

// readMeta finds the root page in the newer of the two meta pages. Both must be
// valid: if one is damaged nobody knows whether it was the newer one, and bbolt
// would go back to what the file held before its last transaction. A crash cannot
// tear them, because a meta lies in one sector.
func (c *boltChecker) readMeta(size int64) (root uint64, err error) {
	ne := binary.NativeEndian
	var newest uint64
	found := false
	for page := range int64(2) {
		b := make([]byte, boltPageHeader+boltMetaSize)
		// The second meta's place follows from the page size that the first one told.
		if _, err := c.r.ReadAt(b, page*c.pageSize); err != nil {
			return 0, corruptBolt("meta page %d: %v", page, err)
		}
		m := b[boltPageHeader:]
		h := fnv.New64a()
		_, _ = h.Write(m[:56]) // never fails
		valid := ne.Uint32(m) == boltMagic && ne.Uint32(m[4:]) == boltVersion && ne.Uint64(m[56:]) == h.Sum64()
		if !valid {
			return 0, corruptBolt("meta page %d is damaged", page)
		}
		if page == 0 {
			c.pageSize = int64(ne.Uint32(m[8:]))
		}
		if txid := ne.Uint64(m[48:]); !found || txid > newest {
			found, newest = true, txid
			root, c.pages = ne.Uint64(m[16:]), ne.Uint64(m[40:])
		}
	}
	if !found || c.pages < 4 || c.pages > uint64(size/c.pageSize) {
		return 0, corruptBolt("%d pages of %d bytes in a file of %d", c.pages, c.pageSize, size)
	}
	c.seen = make([]bool, c.pages)
	return root, nil
}

// tree checks the pages under page id, whose keys must be at least low and below
// high; nil is no bound.
func (c *boltChecker) tree(id uint64, low, high []byte, depth int) error {
	if depth > boltMaxDepth {
		return corruptBolt("page %d lies too deep", id)
	}
	p, err := c.page(id)
	if err != nil {
		return err
	}
	switch flags := binary.NativeEndian.Uint16(p.head[8:]); flags {
	case boltLeafPage:
		return c.leaf(p, low, high, depth)
	case boltBranchPage:
		return c.branch(p, low, high, depth)
	default:
		return corruptBolt("page %d has flags %#x", id, flags)
	}
}

// boltPage is one page with its overflow pages, or an inline page. What lies
// behind the first page, mostly long values, is read only when asked for.
type boltPage struct {
	id    uint64
	head  []byte      // the first page
	r     io.ReaderAt // the file
	start int64       // of the page in the file
	size  uint64
}

// bytes is n bytes of the page from off on.
func (p *boltPage) bytes(off, n uint64) ([]byte, error) {
	switch {
	case off > p.size || n > p.size-off:
		return nil, corruptBolt("%d bytes at %d of page %d lie outside", n, off, p.id)
	case off+n <= uint64(len(p.head)):
		return p.head[off : off+n : off+n], nil
	}
	b := make([]byte, n)
	if _, err := p.r.ReadAt(b, p.start+int64(off)); err != nil {
		return nil, corruptBolt("page %d: %v", p.id, err)
	}
	return b, nil
}

// elements is the number of elements that the page says it has.
func (p *boltPage) elements() uint64 { return uint64(binary.NativeEndian.Uint16(p.head[10:])) }

// page reads page id and marks it and its overflow pages as seen.
func (c *boltChecker) page(id uint64) (*boltPage, error) {
	if id < 2 || id >= c.pages {
		return nil, corruptBolt("page %d of %d", id, c.pages)
	}
	p := &boltPage{id: id, head: make([]byte, c.pageSize), r: c.r, start: int64(id) * c.pageSize}
	if _, err := c.r.ReadAt(p.head, p.start); err != nil {
		return nil, corruptBolt("page %d: %v", id, err)
	}
	self, overflow := binary.NativeEndian.Uint64(p.head), uint64(binary.NativeEndian.Uint32(p.head[12:]))
	if self != id || overflow >= c.pages-id {
		return nil, corruptBolt("page %d calls itself %d with %d more", id, self, overflow)
	}
	for i := id; i <= id+overflow; i++ {
		if c.seen[i] {
			return nil, corruptBolt("page %d is used twice", i)
		}
		c.seen[i] = true
	}
	p.size = (overflow + 1) * uint64(c.pageSize)
	return p, nil
}

func (c *boltChecker) leaf(p *boltPage, low, high []byte, depth int) error {
	ne := binary.NativeEndian
	for i := range p.elements() {
		at := boltPageHeader + i*boltElement
		e, err := p.bytes(at, boltElement)
		if err != nil {
			return err
		}
		pos, klen, vlen := uint64(ne.Uint32(e[4:])), uint64(ne.Uint32(e[8:])), uint64(ne.Uint32(e[12:]))
		key, err := p.bytes(at+pos, klen)
		if err != nil {
			return err
		}
		if end := at + pos + klen; vlen > p.size-end {
			return corruptBolt("value %d of page %d ends outside", i, p.id)
		}
		if klen == 0 || !ordered(low, key, high, i > 0) {
			return corruptBolt("element %d of page %d is out of order", i, p.id)
		}
		low = key
		if ne.Uint32(e)&boltBucketFlag == 0 {
			if err := c.value(key, boltValue{p, at + pos + klen, vlen}); err != nil {
				return err
			}
			continue
		}
		value, err := p.bytes(at+pos+klen, vlen)
		if err != nil {
			return err
		}
		if err := c.bucket(key, value, depth); err != nil {
			return err
		}
	}
	return nil
}

// value notes a value in the bucket c.path.
func (c *boltChecker) value(key []byte, v boltValue) (err error) {
	switch {
	case len(c.path) == 0:
	case string(c.path[0]) == recordsBucket:
		c.records++
		if c.verify != nil {
			return c.verify(wholeKey(c.path[1:], key), v)
		}
	case string(c.path[0]) == metaBucket && string(key) == stateKey:
		c.state, err = v.page.bytes(v.off, v.n)
	}
	return err
}

// wholeKey is the key of a record that lies under key in the nested buckets path:
// see keySegment.
func wholeKey(path [][]byte, key []byte) []byte {
	var whole []byte
	for _, name := range path {
		whole = wholeKeyOf(whole, 1, name)
	}
	return wholeKeyOf(whole, 1, key)
}

// bucket checks the tree of the nested bucket under key.
func (c *boltChecker) bucket(key, v []byte, depth int) error {
	c.path = append(c.path, key)
	defer func() { c.path = c.path[:len(c.path)-1] }()
	ne := binary.NativeEndian
	if len(v) < boltBucket {
		return corruptBolt("a bucket of %d bytes", len(v))
	}
	if root := ne.Uint64(v); root != 0 {
		return c.tree(root, nil, nil, depth+1)
	}
	p := &boltPage{head: v[boltBucket:], size: uint64(len(v) - boltBucket)}
	if p.size < boltPageHeader || ne.Uint16(p.head[8:]) != boltLeafPage || depth > boltMaxDepth {
		return corruptBolt("an inline bucket without a leaf")
	}
	return c.leaf(p, nil, nil, depth+1)
}

func (c *boltChecker) branch(p *boltPage, low, high []byte, depth int) error {
	ne := binary.NativeEndian
	n := p.elements()
	table, err := p.bytes(boltPageHeader, n*boltElement)
	if err != nil {
		return err
	}
	if n == 0 {
		return corruptBolt("branch page %d is empty", p.id)
	}
	keys := make([][]byte, n, n+1)
	for i := range n {
		e, at := table[i*boltElement:], boltPageHeader+i*boltElement
		if keys[i], err = p.bytes(at+uint64(ne.Uint32(e)), uint64(ne.Uint32(e[4:]))); err != nil {
			return err
		}
		if !ordered(low, keys[i], high, i > 0) {
			return corruptBolt("element %d of page %d is out of order", i, p.id)
		}
		low = keys[i]
	}
	keys = append(keys, high)
	for i := range n {
		if err := c.tree(ne.Uint64(table[i*boltElement+8:]), keys[i], keys[i+1], depth+1); err != nil {
			return err
		}
	}
	return nil
}

// ordered reports whether low <= key < high, with low < key if strict.
func ordered(low, key, high []byte, strict bool) bool {
	cmp := bytes.Compare(low, key)
	return (cmp < 0 || cmp == 0 && !strict) && (high == nil || bytes.Compare(key, high) < 0)
}

func corruptBolt(format string, args ...any) error {
	return fmt.Errorf("%w: bbolt file: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// defaultPageSize is the page size of files that are made here.
func defaultPageSize() int64 { return int64(os.Getpagesize()) }
