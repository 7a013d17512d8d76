package vnodes

import (
	"encoding/binary"

	"github.com/ringcore/ringcore/metadata/ring"
)

// epochKey's value, u64, is the newest epoch that this node has acted on.
const epochKey = "epoch"

// Epoch is the epoch that was last set, 0 if none.
func (j *Journal) Epoch() ring.Epoch {
	j.mu.Lock()
	defer j.mu.Unlock()
	b := j.values[epochKey]
	if len(b) != 8 {
		return 0
	}
	return ring.Epoch(binary.BigEndian.Uint64(b))
}

// SetEpoch returns when e is durable. One goroutine at a time may call it.
func (j *Journal) SetEpoch(e ring.Epoch) error {
	return j.change(epochKey, binary.BigEndian.AppendUint64(nil, uint64(e)))
}
