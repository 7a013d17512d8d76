package backup

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes"
)

// open opens one of the compressed files.
func (s *Set) open(name string) (*reader, error) {
	f, err := os.Open(filepath.Join(s.Dir, name))
	if err != nil {
		return nil, damaged("%w", err)
	}
	r := &reader{name: name, f: f}
	if r.z, err = zstd.NewReader(bufio.NewReaderSize(f, 256<<10), zstd.WithDecoderConcurrency(1)); err != nil {
		return nil, errors.Join(damaged("%s: %w", name, err), f.Close())
	}
	return r, nil
}

// reader reads one of the compressed files.
type reader struct {
	name string
	f    *os.File
	z    *zstd.Decoder
}

// Read implements io.Reader: what does not decompress is damaged.
func (r *reader) Read(b []byte) (int, error) {
	n, err := r.z.Read(b)
	if err != nil && err != io.EOF {
		err = damaged("%s: %w", r.name, err)
	}
	return n, err
}

func (r *reader) close() {
	r.z.Close()
	_ = r.f.Close() // only read
}

// trees are the hash trees of a service's partitions as of this backup.
func (s *Set) trees(service string) ([]vnodes.Tree, error) {
	name := service + "/" + treesName
	if err := s.verifySum(name); err != nil {
		return nil, err
	}
	f, err := s.open(name)
	if err != nil {
		return nil, err
	}
	defer f.close()
	trees := make([]vnodes.Tree, s.Partitions)
	b := make([]byte, vnodes.TreeSize)
	for i := range trees {
		if _, err := io.ReadFull(f, b); err != nil {
			return nil, damaged("%s: %w", name, err)
		}
		trees[i], _ = vnodes.ParseTree(b)
	}
	return trees, nil
}

// part reads what s itself has of a partition: begin is told in which leaves it lies.
func (s *Set) part(service string, p int, begin func(vnodes.Leaves), emit func(*wire.Item) error) error {
	name := partName(service, p)
	f, err := s.open(name)
	if err != nil {
		return err
	}
	defer f.close()
	in := wire.NewBlockReader(f)
	for {
		it, err := in.Item(func(kind wire.BlockKind, body []byte) error {
			leaves, ok := vnodes.ParseLeaves(body)
			if kind != wire.BlockLeaves || !ok {
				return wire.ErrBlocks
			}
			begin(leaves)
			return nil
		})
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, wire.ErrBlocks):
			return damaged("%s: %w", name, err)
		case err != nil:
			return err
		}
		if err := emit(&it); err != nil {
			return err
		}
	}
}

// has reports whether s itself has something of a partition, and whether nothing of
// older backups counts beside that.
func (s *Set) has(service string, p int) (something, all bool) {
	sv := s.service(service)
	if sv == nil {
		return false, false
	}
	for i := range sv.Parts {
		if sv.Parts[i].Partition == p {
			return true, sv.Full
		}
	}
	return false, sv.Full
}

// Records hands over the records of a partition as they were when the newest backup was
// made: those of one backup in key order, then those of the one before. begin is called
// before each of these rows. An item is valid only during the call.
func (c Chain) Records(service string, p int, begin func() error, emit func(*wire.Item) error) error {
	var taken vnodes.Leaves // which newer backups have
	for _, s := range c {
		something, all := s.has(service, p)
		if something {
			var leaves vnodes.Leaves
			if err := begin(); err != nil {
				return err
			}
			err := s.part(service, p, func(l vnodes.Leaves) { leaves = l }, func(it *wire.Item) error {
				if taken.Holds(it.Key) {
					return nil
				}
				return emit(it)
			})
			if err != nil {
				return err
			}
			taken.Add(&leaves)
		}
		if all {
			return nil
		}
	}
	return nil
}

// Verify reads everything that s itself holds, and compares it with its checksums, its
// hash trees and its manifest. count is called with the bytes of each record, and ends
// it by an error; step after each partition.
func (s *Set) Verify(count func(bytes int) error, step func()) error {
	for _, name := range sortedKeys(s.sums) {
		if err := s.verifySum(name); err != nil {
			return err
		}
	}
	for _, sv := range s.Services {
		trees, err := s.trees(sv.Name)
		if err != nil {
			return err
		}
		for _, want := range sv.Parts {
			if err := s.verifyPart(sv.Name, want, &trees[want.Partition], count); err != nil {
				return err
			}
			step()
		}
	}
	return nil
}

// verifySum compares a file with its checksum.
func (s *Set) verifySum(name string) error {
	f, err := os.Open(filepath.Join(s.Dir, name))
	if err != nil {
		return damaged("%w", err)
	}
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return damaged("%w", err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != s.sums[name] {
		return damaged("checksum of %s", name)
	}
	return nil
}

// verifyPart compares a partition's records with their tree and the manifest.
func (s *Set) verifyPart(service string, want Part, tree *vnodes.Tree, count func(bytes int) error) error {
	got := Part{Partition: want.Partition}
	var leaves vnodes.Leaves
	var own, wanted vnodes.Tree
	err := s.part(service, want.Partition, func(l vnodes.Leaves) { leaves = l }, func(it *wire.Item) error {
		r := vnodes.Record{Stamp: it.Stamp, Value: it.Value}
		own.Note(it.Key, &r)
		got.Records++
		got.Bytes += int64(len(it.Key) + len(it.Value))
		return count(len(it.Key) + len(it.Value))
	})
	if err != nil {
		return err
	}
	if wanted.Take(tree, &leaves); got != want || own != wanted {
		return damaged("%s does not hold the records that it should", partName(service, want.Partition))
	}
	return nil
}
