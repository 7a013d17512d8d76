package vnodes

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"

	"go.etcd.io/bbolt"
)

// The buckets of a store's file, and the keys in its meta bucket.
const (
	recordsBucket = "records"
	metaBucket    = "meta"
	identityKey   = "identity" // sealed JSON Identity
	stateKey      = "state"    // sealed fileState
	treeKey       = "tree"     // sealed Tree; behind the state, which a start reads
)

// fileState is what a store's file says of itself, written with every checkpoint.
//
//	records, live, bytes, sum, highest time, file id, covered u64 | log id 16
type fileState struct {
	digest  Digest // of the records in the file
	maxTime uint64
	file    uint64   // names the file in the log; no two files ever have the same
	covered position // the log's entries before it are in the file, or not for it
	log     logID
}

const fileStateSize = 7*8 + 16

// newFileID draws the id of a new file.
func newFileID() uint64 { return 2 + rand.Uint64N(math.MaxUint64-2) }

func (s *fileState) encode() []byte {
	b := make([]byte, 0, fileStateSize)
	for _, v := range [...]uint64{
		uint64(s.digest.Records), uint64(s.digest.Live), uint64(s.digest.Bytes), s.digest.Sum, s.maxTime, s.file, uint64(s.covered),
	} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return append(b, s.log[:]...)
}

func decodeFileState(sealed []byte) (fileState, error) {
	b, err := unseal(stateKey, sealed)
	if err != nil {
		return fileState{}, err
	}
	if len(b) != fileStateSize {
		return fileState{}, corruptBolt("state of %d bytes", len(b))
	}
	u := func(i int) uint64 { return binary.BigEndian.Uint64(b[8*i:]) }
	return fileState{
		digest:  Digest{Records: int64(u(0)), Live: int64(u(1)), Bytes: int64(u(2)), Sum: u(3)},
		maxTime: u(4), file: u(5), covered: position(u(6)), log: logID(b[56:]),
	}, nil
}

func fileBucket(tx *bbolt.Tx, name string) (*bbolt.Bucket, error) {
	if b := tx.Bucket([]byte(name)); b != nil {
		return b, nil
	}
	return nil, corruptBolt("no bucket %q", name)
}

func readIdentity(tx *bbolt.Tx) (Identity, error) {
	meta, err := fileBucket(tx, metaBucket)
	if err != nil {
		return Identity{}, err
	}
	b, err := unseal(identityKey, meta.Get([]byte(identityKey)))
	if err != nil {
		return Identity{}, err
	}
	var id Identity
	if err := json.Unmarshal(b, &id); err != nil {
		return Identity{}, fmt.Errorf("identity: %w: %w", ErrCorrupt, err)
	}
	return id, nil
}

func writeState(tx *bbolt.Tx, state *fileState) error {
	meta, err := fileBucket(tx, metaBucket)
	if err != nil {
		return err
	}
	return meta.Put([]byte(stateKey), seal(stateKey, state.encode()))
}

func readState(tx *bbolt.Tx) (fileState, error) {
	meta, err := fileBucket(tx, metaBucket)
	if err != nil {
		return fileState{}, err
	}
	return decodeFileState(meta.Get([]byte(stateKey)))
}

// peekState reads the state from the file at path without opening it as a
// database, in a few small reads: a node has a thousand files when it starts.
func peekState(path string) (fileState, error) {
	sealed, err := peekMeta(path, stateKey)
	if err != nil {
		return fileState{}, err
	}
	return decodeFileState(sealed)
}

// peekMeta reads, so, what lies sealed under key.
func peekMeta(path, key string) (sealed []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return lookBolt(f, info.Size(), metaBucket, key)
}
