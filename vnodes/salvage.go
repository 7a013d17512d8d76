package vnodes

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// longestSalvaged is the length of the longest value that is taken from a damaged
// file; a longer one comes from another replica.
const longestSalvaged = 16 << 20

// salvage calls take with what can still be read of a quarantined store: the
// records in pages of its file, and the entries in the log, whose checksums are
// right. They are in no order, and some are old versions: they have to be merged
// by their stamps. Not among them are records whose keys are longer than keySegment.
func (d *Disk) salvage(a *aside, take func([]Write) error) error {
	err := salvageFile(a.path, take)
	if err != nil || a.file == 0 {
		return err
	}
	return d.log.salvage(a.file, a.from, func(_ position, writes []Write) error { return take(writes) })
}

// salvageFile reads all leaf pages, whichever tree they are or were in.
func salvageFile(path string, take func([]Write) error) (err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("salvage: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("salvage: %w", err)
	}
	size := defaultPageSize()
	pages := info.Size() / size
	for id := int64(2); id < pages; id++ {
		p := &boltPage{id: uint64(id), head: make([]byte, size), r: f, start: id * size}
		if _, err := f.ReadAt(p.head, p.start); err != nil && !errors.Is(err, io.EOF) {
			continue // a bad sector
		}
		p.size = uint64(size) * (1 + min(uint64(binary.NativeEndian.Uint32(p.head[12:])), uint64(pages-id-1)))
		if writes := p.salvage(); len(writes) > 0 {
			if err := take(writes); err != nil {
				return err
			}
		}
	}
	return nil
}

// salvage is the records of a leaf page whose checksums are right.
func (p *boltPage) salvage() (writes []Write) {
	ne := binary.NativeEndian
	if ne.Uint16(p.head[8:]) != boltLeafPage {
		return nil
	}
	for i := range p.elements() {
		at := boltPageHeader + i*boltElement
		e, err := p.bytes(at, boltElement)
		if err != nil {
			return writes
		}
		pos, klen, vlen := uint64(ne.Uint32(e[4:])), uint64(ne.Uint32(e[8:])), uint64(ne.Uint32(e[12:]))
		key, err := p.bytes(at+pos, klen)
		if err != nil || klen == 0 || vlen > longestSalvaged || ne.Uint32(e)&boltBucketFlag != 0 {
			continue
		}
		if k := string(key); k == identityKey || k == stateKey || k == treeKey {
			continue // of the file itself: sealed as records are
		}
		value, err := p.bytes(at+pos+klen, vlen)
		if err != nil {
			continue
		}
		if r, err := parseRecord(key, value); err == nil {
			writes = append(writes, Write{Key: key, Record: r})
		}
	}
	return writes
}

// salvage calls take with the writes of every whole entry of file in the segments from
// that of position from on, and where the entry is.
func (l *commitLog) salvage(file uint64, from position, take func(position, []Write) error) error {
	var failed error
	for _, s := range l.segments() {
		if s.number < from.segment() {
			continue
		}
		b, err := l.content(s)
		if err != nil {
			return fmt.Errorf("salvage: %w", err)
		}
		scan := segmentScan{number: s.number, seed: entrySeed(l.id, s.number), b: b, known: true}
		scan.visit = func(of uint64, at position, payload []byte) {
			if of != file || failed != nil {
				return
			}
			if writes, err := ParseWrites(payload); err == nil {
				failed = take(at, writes)
			}
		}
		scan.run()
		if failed != nil {
			return failed
		}
	}
	return nil
}

// segments are those that are needed and have been begun, oldest first.
func (l *commitLog) segments() []segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []segment
	for _, s := range l.old {
		if s.number >= l.oldest {
			all = append(all, *s)
		}
	}
	return append(all, *l.active)
}

// content reads a segment.
func (l *commitLog) content(s segment) (b []byte, err error) {
	f, err := l.fsys.open(s.path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b = make([]byte, s.length)
	n, err := f.ReadAt(b, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:n], err
}
