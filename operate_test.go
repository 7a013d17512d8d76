package ringcore

import (
	"errors"
	"testing"
	"time"
)

// A node that is alone does not wait for word from a leader: the time within which it leads
// is below the shortest that raft waits for that. Three tries, for machines under load.
func TestALoneNodeLeadsAtOnce(t *testing.T) {
	var took time.Duration
	for range 3 {
		n := testNode(t, Config{Name: "n1", HTTPAddr: off, RESPAddr: off})
		began := time.Now()
		eventually(t, "n1 leads", func() error {
			members, err := n.Admin().Members(t.Context())
			if err == nil && !members[0].Leader {
				err = errors.New("not yet")
			}
			return err
		})
		if took = time.Since(began); took < 900*time.Millisecond {
			return
		}
	}
	t.Errorf("it leads after %v", took)
}

func TestBucketPropertiesFromGo(t *testing.T) {
	n := testNode(t, Config{Name: "n1", HTTPAddr: off, RESPAddr: off})
	if p, err := n.SetBucket(t.Context(), "carts", BucketChange{Siblings: new(true), W: new(All)}); err != nil || !p.Siblings || p.W != All {
		t.Errorf("set: %+v, %v", p, err)
	}
	if p, err := n.Bucket(t.Context(), "carts"); err != nil || !p.Siblings || p.W != All {
		t.Errorf("get: %+v, %v", p, err)
	}
	list, err := n.Admin().Preflist(t.Context(), "carts", []byte("anna"), 1)
	if err != nil || len(list) != 1 || Partition(list[0].Partition) != n.Locate("carts", []byte("anna")) {
		t.Errorf("the key is in partition %d, its list says %+v, %v", n.Locate("carts", []byte("anna")), list, err)
	}
}
