package ringcore

import (
	"path/filepath"
	"testing"

	"github.com/ringcore/ringcore/vnodes/kv"
)

// A node that is restarted elsewhere, and is up for the others before they know where,
// tells them: in a cluster of two they do not hear it from raft, which only it belongs to.
func TestRestartedElsewhere(t *testing.T) {
	dir := t.TempDir()
	n1 := testNode(t, Config{Dir: filepath.Join(dir, "n1"), Name: "n1", Partitions: 8})
	n2 := testNode(t, Config{Dir: filepath.Join(dir, "n2"), Name: "n2", Join: []string{n1.Info().Addr}})
	settled(t, n1, n2)
	if err := n1.Close(); err != nil {
		t.Fatal(err)
	}
	n1 = testNode(t, Config{Dir: filepath.Join(dir, "n1"), Name: "n1"})
	eventually(t, "n2 reaches n1", func() error {
		return n2.KV().Put(t.Context(), "default", []byte("key"), []byte("value"), kv.Options{})
	})
	mustGet(t, n1, "key", "value")
}
