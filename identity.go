package ringcore

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ringcore/ringcore/metadata/ring"
)

// dirFormat is the version of all files in a data directory. A version of the software
// that writes any of them in a form that this one cannot read raises it first.
const dirFormat = 1

// identity is node.json: who the node is, for ever, and where it belongs now.
type identity struct {
	Format      int         `json:"format"` // dirFormat of what wrote it
	NodeID      ring.NodeID `json:"node_id"`
	Name        string      `json:"name"`
	Incarnation uint64      `json:"incarnation"`          // +1 for each start
	ClusterID   string      `json:"cluster_id,omitempty"` // empty before birth or join
	Storage     string      `json:"storage"`
	Left        bool        `json:"left,omitempty"`
	Forced      bool        `json:"forced,omitempty"`   // left because it was removed by force
	Home        string      `json:"home,omitempty"`     // the cluster to return to if the staged join is cleared
	Outlived    string      `json:"outlived,omitempty"` // why the recovered cluster cannot use this node's records; it never starts again
	Join        *joinIntent `json:"join,omitempty"`     // a join under way: resumed after a crash
}

// joinIntent is what a node means to do from before it asks to be admitted until
// it knows the answer.
type joinIntent struct {
	Seeds   []string `json:"seeds"`
	Discard bool     `json:"discard,omitempty"`
	Staged  bool     `json:"staged,omitempty"` // to be committed with the cluster's plan
}

// dataDir is a node's data directory, locked.
type dataDir struct {
	path string
	lock *os.File
}

// openDir makes the directory if need be and locks it.
func openDir(path string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, unusable(err)
	}
	f, err := os.OpenFile(filepath.Join(path, "LOCK"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, unusable(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("data directory %s is in use by another process: stop that one, or give this node a directory of its own (%w)", path, err), f.Close())
	}
	return &dataDir{path: path, lock: f}, nil
}

// unusable says why nothing can be written to a data directory.
func unusable(err error) error {
	if errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("data directory: %w: a file has that name; choose another one", err)
	}
	return fmt.Errorf("data directory: %w; choose one that user %d may write to", err, os.Geteuid())
}

func (d *dataDir) close() error { return d.lock.Close() }

// cluster is the folder of one cluster's metadata and vnodes. It is never used
// for another cluster.
func (d *dataDir) cluster(id string) string { return filepath.Join(d.path, "clusters", id) }

// load reads node.json; a directory without one gets a new identity.
func (d *dataDir) load() (*identity, error) {
	b, err := os.ReadFile(filepath.Join(d.path, "node.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return d.newIdentity()
	}
	if err != nil {
		return nil, fmt.Errorf("read the node's identity: %w", err)
	}
	var id identity
	err = json.Unmarshal(b, &id)
	if err == nil && id.Format > dirFormat {
		return nil, fmt.Errorf("%s was made by a newer version of this software (its format is %d, this version knows %d): start the newer version again",
			d.path, id.Format, dirFormat)
	}
	if err != nil || id.Format != dirFormat || len(id.NodeID) != 16 {
		return nil, fmt.Errorf("%s does not hold a node's identity (%v): restore it from a backup, or start on an empty directory and join again",
			filepath.Join(d.path, "node.json"), err)
	}
	return &id, nil
}

func (d *dataDir) newIdentity() (*identity, error) {
	if _, err := os.Stat(filepath.Join(d.path, "clusters")); err == nil {
		return nil, fmt.Errorf("%s holds a cluster's data but no node.json: restore that file, or start on an empty directory", d.path)
	}
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, err
	}
	return &identity{Format: dirFormat, NodeID: ring.NodeID(hex.EncodeToString(b[:]))}, nil
}

// save replaces node.json durably.
func (d *dataDir) save(id *identity) error {
	b, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return err
	}
	tmp := filepath.Join(d.path, "node.json.tmp")
	if err := writeSynced(tmp, append(b, '\n')); err != nil {
		return fmt.Errorf("save the node's identity: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(d.path, "node.json")); err != nil {
		return fmt.Errorf("save the node's identity: %w", err)
	}
	return syncDir(d.path)
}

func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
