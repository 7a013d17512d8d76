package metadata

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const stateFile = "state.json"

const (
	persistPause = 100 * time.Millisecond // between two writes while the State keeps changing
	persistRetry = time.Second            // after a write that failed
)

// sealedState is state.json: an encoded State and the CRC-32C of its bytes.
type sealedState struct {
	Checksum uint32          `json:"crc32c"`
	State    json.RawMessage `json:"state"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrCorruptState reports a state.json that is not what was written. The file holds
// no data of users: the newest State is with every other member.
var ErrCorruptState = errors.New("state.json is corrupt")

// loadState reads dir's state.json; nil if there is none.
func loadState(dir string) (*State, error) {
	path := filepath.Join(dir, stateFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	var sealed sealedState
	if err := json.Unmarshal(b, &sealed); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorruptState, path, err)
	}
	if sum := crc32.Checksum(sealed.State, castagnoli); sum != sealed.Checksum {
		return nil, fmt.Errorf("%w: %s: checksum %08x, recorded %08x", ErrCorruptState, path, sum, sealed.Checksum)
	}
	s, err := Decode(sealed.State)
	if errors.Is(err, ErrNewer) {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorruptState, path, err)
	}
	return s, nil
}

// saveState replaces dir's state.json by s; when it returns nil, that is durable.
func saveState(dir string, s *State) error {
	b, err := s.Encode()
	if err == nil {
		b, err = json.Marshal(sealedState{crc32.Checksum(b, castagnoli), b})
	}
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	path := filepath.Join(dir, stateFile)
	if err := writeSynced(path+".tmp", b); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

// writeSynced writes a file, readable by its owner only, and syncs it.
func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// persist writes each newest State to state.json until the Store closes, then once
// more. States that come while one is being written are coalesced.
func (s *Store) persist() {
	defer s.wg.Done()
	written := s.loaded
	for more := true; more; {
		select {
		case <-s.prod:
		case <-s.ctx.Done():
			more = false
		}
		st := s.State()
		if st.Epoch == written {
			continue
		}
		pause := persistPause
		if err := saveState(s.cfg.Dir, st); err != nil {
			s.log.Error("state not saved", "epoch", st.Epoch, "err", err)
			pause = persistRetry
			s.prodPersist()
		} else {
			written = st.Epoch
		}
		s.sleep(s.ctx, pause) // not at all when closing
	}
}

// prodPersist tells persist that there is something to write.
func (s *Store) prodPersist() {
	select {
	case s.prod <- struct{}{}:
	default: // prodded already; it will read the newest State
	}
}
