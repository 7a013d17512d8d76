package vnodes

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A log that a newer version has written is left as it is, and the start says why: it
// holds what was acknowledged.
func TestLogOfNewerVersion(t *testing.T) {
	dir := t.TempDir()
	d := openDisk(t, dir, DiskOptions{})
	put(t, createStore(t, d), "a", "v", 1)
	killed := killedCopy(t, dir)
	segments, err := filepath.Glob(filepath.Join(killed, logDir, "*"+segmentSuffix))
	if err != nil || len(segments) == 0 {
		t.Fatal(segments, err)
	}
	written := make(map[string]string)
	for _, path := range segments {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, header := range [][]byte{b[:headerCopy], b[headerCopy:segmentHeader]} {
			binary.BigEndian.PutUint32(header[4:], logVersion+1)
			binary.BigEndian.PutUint32(header, crc32.Checksum(header[4:], castagnoli()))
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		written[path] = string(b)
	}
	_, err = OpenDisk(killed, DiskOptions{})
	if err == nil || !strings.Contains(err.Error(), "start the newer version again") {
		t.Errorf("open: %v", err)
	}
	for path, want := range written {
		if b, err := os.ReadFile(path); err != nil || string(b) != want {
			t.Errorf("%s has changed: %v", filepath.Base(path), err)
		}
	}
}
