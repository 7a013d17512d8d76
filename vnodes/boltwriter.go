package vnodes

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
)

// boltWriter writes a bbolt file from its records in key order, front to back, in
// a few large writes: about what copying costs. The format is drawn in
// boltcheck.go. The leaves come as their records do, the branches above them when
// a tree ends, the meta pages last.
type boltWriter struct {
	f        logFile
	pace     func(n int) // called for n bytes written; nil for nothing
	pageSize int
	buf      []byte      // pages that are not written yet
	at       int64       // where buf goes
	trees    []*boltTree // those that are being written: a bucket, the one nested in it, and so on
	buckets  []boltChild // the top-level ones that are written: name, root
	err      error       // the first failure; nothing is written after it
}

// boltTree is the tree of one bucket, being written.
type boltTree struct {
	name   []byte        // by which the bucket lies in the one above
	leaf   boltElements  // the leaf that grows
	levels [][]boltChild // finished pages by level, from the leaves up, with their first keys
}

type boltChild struct {
	key []byte
	id  uint64
}

// boltElements is the elements of a page that is not finished.
type boltElements struct {
	heads []byte // without the place of key and value
	sizes []int  // of each element's key and value
	data  []byte // keys and values
	first []byte // key
}

const (
	// boltFill is how full a page gets before the next one is begun, in parts of
	// 16: the rest is for what updates in place add.
	boltFill = 15
	// boltBuffer is how much is written at a time.
	boltBuffer     = 256 << 10
	boltFreePage   = 0x10
	boltMetaPage   = 0x04
	boltFreeListID = 2
)

// newBoltWriter begins a file, f, which is empty.
func newBoltWriter(f logFile) *boltWriter {
	w := &boltWriter{f: f, pageSize: int(defaultPageSize())}
	w.at = int64(3 * w.pageSize) // meta pages and the list of free pages come last
	return w
}

// begin begins a top-level bucket, into which put puts until the next one begins.
func (w *boltWriter) begin(bucket string) {
	w.close(0)
	w.open([]byte(bucket))
}

// put adds a record; keys come in their order. The slices are copied.
func (w *boltWriter) put(key, value []byte) {
	depth := 1 // the bucket is open
	for len(key) >= keySegment {
		name := key[:keySegment]
		if depth < len(w.trees) && !bytes.Equal(w.trees[depth].name, name) {
			w.close(depth)
		}
		if depth == len(w.trees) {
			w.open(name)
		}
		key = append([]byte{0}, key[keySegment:]...)
		depth++
	}
	w.close(depth)
	w.add(w.trees[depth-1], 0, key, value)
}

func (w *boltWriter) open(name []byte) {
	w.trees = append(w.trees, &boltTree{name: bytes.Clone(name)})
}

// close ends the trees from depth on, the innermost first.
func (w *boltWriter) close(depth int) {
	for len(w.trees) > depth {
		last := len(w.trees) - 1
		t := w.trees[last]
		w.trees = w.trees[:last]
		root := w.finish(t)
		if last == 0 {
			w.buckets = append(w.buckets, boltChild{t.name, root})
			return
		}
		w.addBucket(w.trees[last-1], t.name, root)
	}
}

func (w *boltWriter) addBucket(t *boltTree, name []byte, root uint64) {
	var bucket [boltBucket]byte
	binary.NativeEndian.PutUint64(bucket[:], root)
	w.add(t, boltBucketFlag, name, bucket[:])
}

// add adds an element to the leaf of t that grows.
func (w *boltWriter) add(t *boltTree, flags uint32, key, value []byte) {
	if t.leaf.full(w.pageSize, len(key)+len(value)) {
		w.endLeaf(t)
	}
	t.leaf.add(func(b []byte) []byte {
		ne := binary.NativeEndian
		b = ne.AppendUint32(b, flags)
		b = ne.AppendUint32(b, 0)
		b = ne.AppendUint32(b, uint32(len(key)))
		return ne.AppendUint32(b, uint32(len(value)))
	}, key, value)
}

// full reports whether an element of n bytes would make the page too long.
func (e *boltElements) full(pageSize, n int) bool {
	size := boltPageHeader + len(e.heads) + len(e.data) + boltElement + n
	return len(e.sizes) > 0 && size > pageSize*boltFill/16
}

func (e *boltElements) add(head func([]byte) []byte, key, value []byte) {
	if len(e.sizes) == 0 {
		e.first = append(e.first[:0], key...)
	}
	e.heads = head(e.heads)
	e.data = append(append(e.data, key...), value...)
	e.sizes = append(e.sizes, len(key)+len(value))
}

func (e *boltElements) reset() { e.heads, e.data, e.sizes = e.heads[:0], e.data[:0], e.sizes[:0] }

// endLeaf writes the leaf of t that grows.
func (w *boltWriter) endLeaf(t *boltTree) {
	id := w.page(boltLeafPage, &t.leaf, 4)
	t.child(0, t.leaf.first, id)
	t.leaf.reset()
}

func (t *boltTree) child(level int, key []byte, id uint64) {
	if level == len(t.levels) {
		t.levels = append(t.levels, nil)
	}
	t.levels[level] = append(t.levels[level], boltChild{bytes.Clone(key), id})
}

// finish writes what is left of t and returns its root.
func (w *boltWriter) finish(t *boltTree) uint64 {
	if len(t.leaf.sizes) > 0 || len(t.levels) == 0 {
		w.endLeaf(t)
	}
	for level := 0; ; level++ {
		children := t.levels[level]
		if len(children) == 1 {
			return children[0].id
		}
		var page boltElements
		for i, c := range children {
			// A branch holds two children at least.
			if len(page.sizes) > 1 && i < len(children)-1 && page.full(w.pageSize, len(c.key)) {
				t.child(level+1, page.first, w.page(boltBranchPage, &page, 0))
				page.reset()
			}
			page.add(func(b []byte) []byte {
				ne := binary.NativeEndian
				b = ne.AppendUint32(b, 0)
				b = ne.AppendUint32(b, uint32(len(c.key)))
				return ne.AppendUint64(b, c.id)
			}, c.key, nil)
		}
		t.child(level+1, page.first, w.page(boltBranchPage, &page, 0))
	}
}

// page writes a page of elements, in whose heads the place of key and value lies
// at offset, and returns its id.
func (w *boltWriter) page(flags uint16, e *boltElements, offset int) uint64 {
	pos := len(e.heads) // from the first element to the first key
	for i, n := range e.sizes {
		binary.NativeEndian.PutUint32(e.heads[i*boltElement+offset:], uint32(pos))
		pos += n - boltElement
	}
	size := boltPageHeader + len(e.heads) + len(e.data)
	id, b := w.alloc(flags, len(e.sizes), size)
	n := copy(b, e.heads)
	copy(b[n:], e.data)
	if len(w.buf) >= boltBuffer {
		w.flush()
	}
	return id
}

// alloc appends a page for size bytes, and its overflow, to the buffer, and
// returns what follows its header.
func (w *boltWriter) alloc(flags uint16, count, size int) (uint64, []byte) {
	ne := binary.NativeEndian
	pages := (size + w.pageSize - 1) / w.pageSize
	id, start := uint64(w.at+int64(len(w.buf)))/uint64(w.pageSize), len(w.buf)
	w.buf = append(w.buf, make([]byte, pages*w.pageSize)...)
	b := w.buf[start:]
	ne.PutUint64(b, id)
	ne.PutUint16(b[8:], flags)
	ne.PutUint16(b[10:], uint16(count))
	ne.PutUint32(b[12:], uint32(pages-1))
	return id, b[boltPageHeader:]
}

// flushLeaves writes all that was put, in leaves that are shorter for that.
func (w *boltWriter) flushLeaves() error {
	for _, t := range w.trees {
		if len(t.leaf.sizes) > 0 {
			w.endLeaf(t)
		}
	}
	w.flush()
	return w.err
}

func (w *boltWriter) flush() {
	if w.err == nil && len(w.buf) > 0 {
		_, w.err = w.f.WriteAt(w.buf, w.at)
		w.f.writeBack(w.at, int64(len(w.buf))) // so that there is little left for the sync, which others wait for too
		if w.pace != nil {
			w.pace(len(w.buf))
		}
	}
	w.at += int64(len(w.buf))
	w.buf = w.buf[:0]
}

// finishFile writes what is left and makes the file durable.
func (w *boltWriter) finishFile() error {
	w.close(0)
	slices.SortFunc(w.buckets, func(a, b boltChild) int { return bytes.Compare(a.key, b.key) })
	var top boltTree
	for _, b := range w.buckets {
		w.addBucket(&top, b.key, b.id)
	}
	root := w.finish(&top)
	w.flush()
	pages := uint64(w.at) / uint64(w.pageSize)
	w.at = 0
	for txid := range uint64(2) {
		w.meta(txid, root, pages)
	}
	w.alloc(boltFreePage, 0, boltPageHeader)
	w.flush()
	if w.err == nil {
		w.err = w.f.sync()
	}
	if w.err != nil {
		return fmt.Errorf("write a bbolt file: %w", w.err)
	}
	return nil
}

// meta writes the meta page of a transaction.
func (w *boltWriter) meta(txid, root, pages uint64) {
	_, b := w.alloc(boltMetaPage, 0, boltPageHeader+boltMetaSize)
	m := binary.NativeEndian.AppendUint32(b[:0], boltMagic)
	for _, v := range [...]uint32{boltVersion, uint32(w.pageSize), 0} {
		m = binary.NativeEndian.AppendUint32(m, v)
	}
	for _, v := range [...]uint64{root, 0, boltFreeListID, pages, txid} {
		m = binary.NativeEndian.AppendUint64(m, v)
	}
	h := fnv.New64a()
	_, _ = h.Write(m) // never fails
	binary.NativeEndian.AppendUint64(m, h.Sum64())
}
