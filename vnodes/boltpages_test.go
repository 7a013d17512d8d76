package vnodes

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// A bit is flipped in the file of a store that is open and has been read from: in
// branch pages, in pages' heads, anywhere. Nothing is said not to be there, nothing
// has another value, no fold leaves anything out.
func TestFlippedWhileOpen(t *testing.T) {
	st, path := createDiskStore(t)
	model := modelStore{}
	var writes []Write
	for i := range 6000 {
		w := write(fmt.Sprintf("k%05d", i*3), strings.Repeat(fmt.Sprint(i), 1+i%40), uint64(i))
		writes, model[string(w.Key)] = append(writes, w), w.Record
	}
	if err := appendSync(st, writes...); err != nil {
		t.Fatal(err)
	}
	if err := rewriteNow(st, 0); err != nil {
		t.Fatal(err)
	}
	if got := collect(t, st, nil); len(got) != len(model) {
		t.Fatalf("%d records", len(got))
	}
	content := readFile(t, path)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	page := int(defaultPageSize())
	var branches []int
	for at := 2 * page; at < len(content); at += page {
		if binary.NativeEndian.Uint16(content[at+8:]) == boltBranchPage {
			branches = append(branches, at)
		}
	}
	if len(branches) < 2 {
		t.Fatalf("%d branch pages", len(branches))
	}
	draw := rand.New(rand.NewPCG(3, 4))
	places := map[string]func() int{
		"a branch": func() int { return branches[draw.IntN(len(branches))] + draw.IntN(page) },
		"a head":   func() int { return (2+draw.IntN(len(content)/page-2))*page + draw.IntN(boltPageHeader+boltElement) },
		"anywhere": func() int { return draw.IntN(len(content)) },
	}
	for name, place := range places {
		noticed := 0
		for range 150 {
			at, bit := place(), byte(1)<<draw.IntN(8)
			what := fmt.Sprintf("%s: bit %#x of byte %d (page %d+%d)", name, bit, at, at/page, at%page)
			if _, err := f.WriteAt([]byte{content[at] ^ bit}, int64(at)); err != nil {
				t.Fatal(err)
			}
			err := st.Ascend(nil, func([]byte, Record) bool { return true })
			if errors.Is(err, ErrCorrupt) {
				noticed++
			}
			checkDamaged(t, what, st, model)
			if _, err := f.WriteAt(content[at:at+1], int64(at)); err != nil {
				t.Fatal(err)
			}
			if t.Failed() {
				return
			}
		}
		if noticed < 20 {
			t.Errorf("%s: only %d of 150 flips mattered", name, noticed)
		}
	}
}
