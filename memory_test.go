package ringcore

import (
	"fmt"
	"testing"

	"github.com/ringcore/ringcore/vnodes/kv"
)

// With memory storage, a node that is restarted has what the others have before it
// counts for a read; a cluster that is restarted as a whole is empty and serves.
func TestMemoryNodeCatchesUp(t *testing.T) {
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	start := func(i int, join ...string) *Node {
		return testNode(t, Config{Name: fmt.Sprint("n", i+1), Dir: dirs[i], Storage: "memory", Join: join, Partitions: 16})
	}
	n1 := start(0)
	n2, n3 := start(1, n1.Info().Addr), start(2, n1.Info().Addr)
	settled(t, n1, n2, n3)
	for i := range 100 {
		mustPut(t, n1, fmt.Sprint("key", i), "value")
	}
	if err := n3.Close(); err != nil {
		t.Fatal(err)
	}
	n3 = start(2, n1.Info().Addr)
	for i := range 100 {
		mustGet(t, n3, fmt.Sprint("key", i), "value")
	}
	// One of the others goes: a majority needs the copies of the restarted node.
	eventually(t, "n3 serves", func() error {
		if n := n3.core.Load().vnodes.CatchingUp(); n > 0 {
			return fmt.Errorf("%d slots are catching up", n)
		}
		return nil
	})
	if err := n2.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n1 reaches n3", func() error {
		_, err := n1.KV().Get(t.Context(), "default", []byte("key0"), kv.Options{})
		return err
	})
	for i := range 100 {
		mustGet(t, n1, fmt.Sprint("key", i), "value")
	}
}
