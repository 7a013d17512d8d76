package vnodes

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// damagedLog is a killed node's folder: the records of some stores are in its log
// only. Returned are what each store must hold, and the log's segments in order.
func damagedLog(t *testing.T) (dir string, models []modelStore, segments []string) {
	t.Helper()
	origin := t.TempDir()
	d := openDisk(t, origin, DiskOptions{SegmentBytes: 16 << 10})
	draw := rand.New(rand.NewPCG(3, 4))
	var stores []Store
	for i := range 6 {
		stores = append(stores, createNamed(t, d, logStoreName(i)))
		models = append(models, modelStore{})
	}
	for n := range 900 {
		i := draw.IntN(len(stores))
		w := write(fmt.Sprint("k", draw.IntN(30)), strings.Repeat(fmt.Sprint(n, " "), 1+draw.IntN(60)), uint64(n))
		if err := appendSync(stores[i], w); err != nil {
			t.Fatal(err)
		}
		models[i][string(w.Key)] = w.Record
	}
	dir = killedCopy(t, origin)
	segments, err := filepath.Glob(filepath.Join(dir, logDir, "*"+segmentSuffix))
	if err != nil || len(segments) < 4 {
		t.Fatal(segments, err)
	}
	return dir, models, segments
}

func logStoreName(i int) string { return fmt.Sprintf("kv/p%04d.bolt", i) }

// checkLog opens a folder with a damaged log: a store holds all, or is refused as
// corrupt. It returns how many are refused.
func checkLog(t *testing.T, what, dir string, models []modelStore) (refused int) {
	t.Helper()
	d := openDisk(t, dir, DiskOptions{SegmentBytes: 16 << 10})
	defer func() { _ = d.Close() }()
	for i, model := range models {
		st, err := d.Open(testID, logStoreName(i))
		if errors.Is(err, ErrCorrupt) {
			refused++
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if err := model.miscounts(st); err != nil {
			t.Errorf("%s: store %d: %v", what, i, err)
		}
	}
	return refused
}

// One flipped bit hurts one store at most, unless nobody can tell whose it was,
// and what is refused once is refused again after the next start.
func TestFlippedBitInLog(t *testing.T) {
	dir, models, segments := damagedLog(t)
	if n := checkLog(t, "whole", killedCopy(t, dir), models); n != 0 {
		t.Fatalf("%d stores are refused", n)
	}
	draw := rand.New(rand.NewPCG(5, 6))
	hurt := 0
	for _, segment := range segments[:len(segments)-2] { // the last two hold the end, and nothing yet
		content := readFile(t, segment)
		for page := 0; page < len(content); page += 4096 {
			at, bit := page+draw.IntN(4096), byte(1)<<draw.IntN(8)
			what := fmt.Sprintf("bit %#x of byte %d of %s", bit, at, filepath.Base(segment))
			damaged := killedCopy(t, dir)
			content[at] ^= bit
			if err := os.WriteFile(filepath.Join(damaged, logDir, filepath.Base(segment)), content, 0o600); err != nil {
				t.Fatal(err)
			}
			content[at] ^= bit
			n := checkLog(t, what, damaged, models)
			if n > 1 {
				t.Errorf("%s: %d stores are refused", what, n)
			}
			if again := checkLog(t, what+", once more", damaged, models); again != n {
				t.Errorf("%s: %d stores were refused, and then %d", what, n, again)
			}
			hurt += n
		}
	}
	if hurt < 10 {
		t.Errorf("only %d stores were hurt", hurt)
	}
}

// A segment that is gone, or a whole page of garbage, is never taken for the end.
func TestMissingPartOfLog(t *testing.T) {
	dir, models, segments := damagedLog(t)
	for i, segment := range segments[:len(segments)-2] {
		damaged := killedCopy(t, dir)
		path := filepath.Join(damaged, logDir, filepath.Base(segment))
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if n := checkLog(t, "missing "+filepath.Base(segment), damaged, models); n == 0 {
			t.Errorf("segment %d is missing and nobody noticed", i)
		}
		damaged = killedCopy(t, dir)
		path = filepath.Join(damaged, logDir, filepath.Base(segment))
		content := readFile(t, path)
		for at := range min(4096, len(content)/2) {
			content[len(content)/4+at] = 0xa5
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if n := checkLog(t, "garbage in "+filepath.Base(segment), damaged, models); n == 0 {
			t.Errorf("segment %d is damaged and nobody noticed", i)
		}
	}
}

// FuzzLogScan reads segments of any content: never a panic.
func FuzzLogScan(f *testing.F) {
	seed := entrySeed(logID{1}, 1)
	segment := (&segmentInfo{log: logID{1}, number: 1}).append(nil)
	for i := range 5 {
		payload := AppendWrites(nil, []Write{write(fmt.Sprint(i), "value", 1)})
		segment = appendEntry(segment, seed, int64(len(segment)), segmentHeader, uint64(2+i), payload, payloadSum(payload))
	}
	f.Add(segment, uint32(200), []byte{1}, true)
	f.Add(segment, uint32(130), []byte{0, 0, 0, 0, 0xff, 0xff}, false)
	f.Fuzz(func(t *testing.T, segment []byte, at uint32, patch []byte, known bool) {
		if len(segment) > 0 {
			copy(segment[int(at)%len(segment):], patch)
		}
		s := segmentScan{number: 1, seed: seed, b: segment, known: known, visit: func(uint64, position, []byte) {}}
		if end := s.run(); end > max(int64(len(segment)), segmentHeader) {
			t.Errorf("ends at %d of %d", end, len(segment))
		}
		_, _ = parseHeader(segment, 1)
	})
}
