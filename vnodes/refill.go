package vnodes

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Refill opens a store that Fill has made and that was not whole when the process ended,
// with what is durable of it, and tells its last key. The error wraps fs.ErrNotExist if
// there is none.
func (d *Disk) Refill(id Identity, name string) (st Store, last []byte, err error) {
	out, err := d.fsys.open(d.path(name) + partSuffix)
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", name, err)
	}
	f := fillerOf(d, id, name, out)
	size, err := out.size()
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", name, errors.Join(err, out.Close()))
	}
	for f.takePage(size) {
	}
	return f, bytes.Clone(f.last), nil
}

// unfinished are the names of the stores that were being filled when the process ended.
func (d *Disk) unfinished() ([]string, error) {
	return d.files(func(name string) (string, bool) {
		name, ok := strings.CutSuffix(name, stagingSuffix+partSuffix)
		return name + stagingSuffix, ok
	})
}

// takePage counts the next page of the file as written; false if it is no whole leaf of
// records, and is written anew.
func (f *filler) takePage(size int64) bool {
	b := f.page(defaultPageSize(), size)
	if b == nil {
		return false
	}
	id := uint64(f.w.at / defaultPageSize())
	node, err := parseNode(id, b)
	if err != nil || !node.leaf || node.n == 0 || string(node.key(0)) == identityKey { // what the file says of itself is sealed as records are
		return false
	}
	writes := make([]Write, node.n)
	last := f.last
	for i := range writes {
		key := node.key(i)
		value, nested := node.value(i)
		r, err := parseRecord(key, value)
		if nested || err != nil || len(key) == 0 || bytes.Compare(key, last) <= 0 {
			return false
		}
		writes[i], last = Write{key, r}, key
	}
	for i := range writes {
		f.count(&writes[i])
	}
	f.w.trees[0].child(0, writes[0].Key, id)
	f.w.at += int64(len(b))
	return true
}

// page reads the page at which the writer stands, with its overflow; nil if there is none.
func (f *filler) page(n, size int64) []byte {
	if f.w.at+n > size {
		return nil
	}
	b := make([]byte, n)
	if _, err := f.out.ReadAt(b, f.w.at); err != nil {
		return nil
	}
	id, pages := pageHead(b)
	switch {
	case id != uint64(f.w.at/defaultPageSize()):
		return nil
	case pages*defaultPageSize() > n:
		return f.page(pages*defaultPageSize(), size)
	}
	return b
}
