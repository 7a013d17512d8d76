package vnodes

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ringcore/ringcore/metadata/ring"
)

// holderPrefix + owner + "/" + holder: JSON holderNote.
const holderPrefix = "holder/"

// holderNote is what the members must not forget of a node that keeps hints: for
// which slots of one owner. It names a slot before the first hint for it is
// acknowledged, and may name it for a while after the last one has gone.
type holderNote struct {
	ID    uint64                      `json:"id,string"` // greater than that of every earlier note of the holder
	Epoch ring.Epoch                  `json:"epoch"`     // of the ring that the holder knew
	Slots map[string][]ring.Partition `json:"slots"`     // by service
}

func holderKey(owner, holder ring.NodeID) string {
	return holderPrefix + string(owner) + "/" + string(holder)
}

// putHolder writes n down, in place of an earlier note of the holder for owner.
func (j *Journal) putHolder(owner, holder ring.NodeID, n *holderNote) error {
	b, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("note of the holder %s for %s: %w", holder, owner, err)
	}
	return j.change(holderKey(owner, holder), b)
}

// deleteHolder forgets the note; it is no error if there is none.
func (j *Journal) deleteHolder(owner, holder ring.NodeID) error {
	return j.change(holderKey(owner, holder), nil)
}

// holders is all notes, by owner and holder.
func (j *Journal) holders() (map[ring.NodeID]map[ring.NodeID]*holderNote, error) {
	all := make(map[ring.NodeID]map[ring.NodeID]*holderNote)
	for _, name := range j.list(holderPrefix) {
		owner, holder, _ := strings.Cut(name, "/")
		j.mu.Lock()
		b := j.values[holderPrefix+name]
		j.mu.Unlock()
		n := new(holderNote)
		if err := json.Unmarshal(b, n); err != nil {
			return nil, fmt.Errorf("note of the holder %s for %s: %w: %w", holder, owner, ErrCorrupt, err)
		}
		if all[ring.NodeID(owner)] == nil {
			all[ring.NodeID(owner)] = make(map[ring.NodeID]*holderNote)
		}
		all[ring.NodeID(owner)][ring.NodeID(holder)] = n
	}
	return all, nil
}
