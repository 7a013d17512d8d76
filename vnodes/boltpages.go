package vnodes

import (
	"bytes"
	"encoding/binary"
)

// boltPages reads the trees of a bbolt file in the file's mapped memory. bbolt
// could do that; but it believes its pages, and one damaged bit in a branch page, or
// in a page's count, makes it miss records without a word. Here, whatever is not
// found has been looked for in pages that hold together:
//
//   - a page has its own id, and its count is what the place of its first key says;
//   - the key by which a branch knows a page is the first one in it (nothing is ever
//     deleted from a file), and the last one lies below the next page's;
//   - the records on both sides have right checksums.
type boltPages struct {
	data    []byte
	records boltNode // root of the tree of records
}

// boltNode is one page of a tree, with its overflow, or the inline page of a bucket.
type boltNode struct {
	id   uint64 // 0 if inline
	b    []byte
	n    int
	leaf bool
}

// node is the page with that id.
func (p *boltPages) node(id uint64) (boltNode, error) {
	ne := binary.NativeEndian
	size := uint64(defaultPageSize())
	if id < 2 || id >= uint64(len(p.data))/size {
		return boltNode{}, corruptBolt("page %d lies outside", id)
	}
	b := p.data[id*size:]
	pages := uint64(ne.Uint32(b[12:])) + 1
	if ne.Uint64(b) != id || pages > uint64(len(b))/size {
		return boltNode{}, corruptBolt("page %d calls itself %d with %d more", id, ne.Uint64(b), pages-1)
	}
	return parseNode(id, b[:pages*size])
}

// pageHead is what a page says of itself: its id, and how many pages it is long.
func pageHead(b []byte) (id uint64, pages int64) {
	ne := binary.NativeEndian
	return ne.Uint64(b), int64(ne.Uint32(b[12:])) + 1
}

// parseNode is the page that is all of b.
func parseNode(id uint64, b []byte) (boltNode, error) {
	ne := binary.NativeEndian
	n := boltNode{id: id, b: b, n: int(ne.Uint16(b[10:]))}
	switch flags := ne.Uint16(b[8:]); flags {
	case boltLeafPage:
		n.leaf = true
	case boltBranchPage:
	default:
		return n, corruptBolt("page %d has flags %#x", id, flags)
	}
	if n.n == 0 && !n.leaf {
		return n, corruptBolt("branch page %d is empty", id)
	}
	if n.n > 0 && (len(b) < boltPageHeader+n.n*boltElement || n.pos(0) != n.n*boltElement) {
		return n, corruptBolt("page %d has %d elements, and its first key lies at %d", id, n.n, n.pos(0))
	}
	return n, nil
}

// pos is where the key of element i lies, from the element on.
func (n *boltNode) pos(i int) int {
	e := n.b[boltPageHeader+i*boltElement:]
	if n.leaf {
		e = e[4:]
	}
	return int(binary.NativeEndian.Uint32(e))
}

// key is the key of element i; nil if it lies outside.
func (n *boltNode) key(i int) []byte {
	at := boltPageHeader + i*boltElement
	if at+boltElement > len(n.b) {
		return nil
	}
	lens := n.b[at+4:]
	if n.leaf {
		lens = lens[4:]
	}
	from, size := at+n.pos(i), int(binary.NativeEndian.Uint32(lens))
	if from > len(n.b) || size > len(n.b)-from {
		return nil
	}
	return n.b[from : from+size : from+size]
}

// value is the value of element i of a leaf; nil if it lies outside. nested says
// that it is a bucket.
func (n *boltNode) value(i int) (value []byte, nested bool) {
	ne := binary.NativeEndian
	e := n.b[boltPageHeader+i*boltElement:]
	from := boltPageHeader + i*boltElement + n.pos(i) + int(ne.Uint32(e[8:]))
	size := int(ne.Uint32(e[12:]))
	if from > len(n.b) || size > len(n.b)-from {
		return nil, false
	}
	return n.b[from : from+size : from+size], ne.Uint32(e)&boltBucketFlag != 0
}

// child is the page that element i of a branch leads to.
func (n *boltNode) child(i int) uint64 {
	return binary.NativeEndian.Uint64(n.b[boltPageHeader+i*boltElement+8:])
}

// search is the first element whose key is at least key.
func (n *boltNode) search(key []byte) (i int, equal bool) {
	low, high := 0, n.n
	for low < high {
		middle := (low + high) / 2
		switch c := bytes.Compare(n.key(middle), key); {
		case c == 0:
			return middle, true
		case c < 0:
			low = middle + 1
		default:
			high = middle
		}
	}
	return low, false
}

// boltStep is a branch page and the element by which it was left.
type boltStep struct {
	node boltNode
	i    int
}

// boltPath leads from a root to a leaf.
type boltPath struct {
	steps [boltMaxDepth]boltStep
	depth int
	leaf  boltNode
}

// seek finds the leaf of the tree below root in which key would lie, and where.
func (p *boltPages) seek(path *boltPath, root boltNode, key []byte) (i int, equal bool, err error) {
	path.depth = 0
	for n := root; ; {
		i, equal := n.search(key)
		if n.leaf {
			path.leaf = n
			return i, equal, nil
		}
		if path.depth == boltMaxDepth {
			return 0, false, corruptBolt("page %d lies too deep", n.id)
		}
		if !equal && i > 0 {
			i--
		}
		path.steps[path.depth] = boltStep{n, i}
		path.depth++
		if n, err = p.node(n.child(i)); err != nil {
			return 0, false, err
		}
	}
}

// vouch reports whatever could have led the search for a key astray that ended at
// element i of the leaf, and did not find it.
func (p *boltPages) vouch(path *boltPath, i int, prefix []byte, skip int) error {
	var high []byte
	for d := range path.depth {
		s := &path.steps[d]
		if s.i+1 < s.node.n {
			high = s.node.key(s.i + 1)
			beside, err := p.node(s.node.child(s.i + 1))
			if err == nil {
				err = beside.within(high, nil)
			}
			if err != nil {
				return err
			}
		}
		below := &path.leaf
		if d+1 < path.depth {
			below = &path.steps[d+1].node
		}
		if err := below.within(s.node.key(s.i), high); err != nil {
			return err
		}
	}
	for _, j := range [...]int{i - 1, i} {
		if err := path.leaf.vouch(j, prefix, skip); err != nil {
			return err
		}
	}
	return nil
}

// within checks that the page begins with the key first and ends below high.
func (n *boltNode) within(first, high []byte) error {
	if n.n == 0 || first == nil || !bytes.Equal(n.key(0), first) || high != nil && bytes.Compare(n.key(n.n-1), high) >= 0 {
		return corruptBolt("page %d does not hold the keys that it is known by", n.id)
	}
	return nil
}

// vouch verifies the record at element i, if there is one. The checksum of a long
// value is verified when it is read.
func (n *boltNode) vouch(i int, prefix []byte, skip int) error {
	const long = 4 << 10
	if i < 0 || i >= n.n {
		return nil
	}
	k := n.key(i)
	value, nested := n.value(i)
	if nested && len(k) == keySegment || len(value) > long {
		return nil
	}
	_, err := parseRecord(wholeKeyOf(prefix, skip, k), value) // which refuses what lies outside
	return err
}

// wholeKeyOf is the key of the record that lies under k in a bucket: prefix and what
// follows the first skip bytes of k.
func wholeKeyOf(prefix []byte, skip int, k []byte) []byte {
	if len(prefix) == 0 {
		return k
	}
	return append(prefix[:len(prefix):len(prefix)], k[min(skip, len(k)):]...)
}

// find is the record under key, sharing the file's memory.
func (p *boltPages) find(key []byte) (Record, bool, error) {
	stored, prefix, skip, root := key, []byte(nil), 0, p.records
	var path boltPath
	for {
		segment := stored[:min(len(stored), keySegment)]
		i, equal, err := p.seek(&path, root, segment)
		if err != nil {
			return Record{}, false, err
		}
		if !equal {
			return Record{}, false, p.vouch(&path, i, prefix, skip)
		}
		value, nested := path.leaf.value(i)
		if !nested || len(segment) < keySegment {
			r, err := parseRecord(key, value)
			return r, err == nil, err
		}
		if root, err = p.bucket(value); err != nil {
			return Record{}, false, err
		}
		prefix, skip = key[:len(prefix)+keySegment-skip], 1
		stored = append([]byte{0}, stored[keySegment:]...)
	}
}

// bucket is the root of the tree of a bucket, of which value is what lies under its name.
func (p *boltPages) bucket(value []byte) (boltNode, error) {
	if len(value) < boltBucket {
		return boltNode{}, corruptBolt("a bucket of %d bytes", len(value))
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return p.node(root)
	}
	if len(value) < boltBucket+boltPageHeader {
		return boltNode{}, corruptBolt("an inline bucket without a page")
	}
	return parseNode(0, value[boltBucket:])
}

// open finds the records in the file whose top-level tree has that root.
func (p *boltPages) open(root uint64) error {
	top, err := p.node(root)
	if err != nil {
		return err
	}
	var path boltPath
	i, ok, err := p.seek(&path, top, []byte(recordsBucket))
	if err != nil {
		return err
	}
	if !ok {
		return corruptBolt("no bucket %q", recordsBucket)
	}
	value, _ := path.leaf.value(i)
	p.records, err = p.bucket(value)
	return err
}

// walk calls fn with the records from key on, in key order, until it returns false.
// The error says what is damaged; value is nil where it lies outside.
func (p *boltPages) walk(from []byte, fn func(key, value []byte) bool) error {
	w := boltWalk{pages: p, fn: fn}
	return w.tree(p.records, nil, nil, 0, from, 0)
}

// boltWalk is a walk under way.
type boltWalk struct {
	pages *boltPages
	fn    func(key, value []byte) bool
	done  bool
}

// tree walks the tree below n, which ends below high. Its keys are prefix and what
// follows the first skip bytes of theirs; those below from are left out.
func (w *boltWalk) tree(n boltNode, high, prefix []byte, skip int, from []byte, depth int) (err error) {
	if depth > boltMaxDepth {
		return corruptBolt("page %d lies too deep", n.id)
	}
	segment, rest := from, []byte(nil)
	if len(from) >= keySegment {
		segment, rest = from[:keySegment], append([]byte{0}, from[keySegment:]...)
	}
	i, equal := n.search(segment)
	if !n.leaf && !equal && i > 0 {
		i--
	}
	for ; i < n.n && !w.done && err == nil; i++ {
		if n.leaf {
			if !bytes.Equal(n.key(i), segment) {
				rest = nil
			}
			err = w.element(&n, i, prefix, skip, rest, depth)
			continue
		}
		next := high
		if i+1 < n.n {
			next = n.key(i + 1)
		}
		var child boltNode
		if child, err = w.pages.node(n.child(i)); err == nil {
			err = child.within(n.key(i), next)
		}
		if err == nil {
			err = w.tree(child, next, prefix, skip, from, depth+1)
		}
		from = nil
	}
	return err
}

// element visits the record at element i of a leaf, or, if that is a nested bucket,
// those in it from the stored key from on.
func (w *boltWalk) element(n *boltNode, i int, prefix []byte, skip int, from []byte, depth int) error {
	k := n.key(i)
	value, nested := n.value(i)
	key := wholeKeyOf(prefix, skip, k)
	if !nested || len(k) != keySegment {
		w.done = !w.fn(key, value)
		return nil
	}
	root, err := w.pages.bucket(value)
	if err != nil {
		return err
	}
	return w.tree(root, nil, key, 1, from, depth+1)
}
