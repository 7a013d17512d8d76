package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// Format is the form of backups that this version writes, the newest that it reads.
const Format = 1

// Manifest says what a backup holds.
type Manifest struct {
	Format     int       `json:"format"`
	ID         string    `json:"id"`
	ClusterID  string    `json:"cluster_id"`
	Begun      time.Time `json:"begun"` // all that was acknowledged before is in it
	Ended      time.Time `json:"ended"`
	Version    string    `json:"version"` // of the node that was asked
	Epoch      uint64    `json:"epoch"`
	Partitions int       `json:"partitions"`
	Replicas   int       `json:"replicas"`
	Base       *Base     `json:"base,omitempty"` // what it builds on, if it is incremental
	Newest     time.Time `json:"newest"`         // of the records' stamps: no clock may be behind that when they are restored

	Services []Service                   `json:"services"`
	Buckets  map[string]wire.BucketProps `json:"buckets"`
}

// Base names the backup that an incremental one builds on.
type Base struct {
	ID  string `json:"id"`
	Dir string `json:"dir"` // seen from the incremental one
}

// Service is what a backup holds of a service.
type Service struct {
	Name     string `json:"name"`
	Replicas int    `json:"replicas"`
	Full     bool   `json:"full"`  // nothing of earlier backups counts
	Parts    []Part `json:"parts"` // by partition; without those that have not changed since the base, and if Full the empty ones
}

// Part is what a backup holds of a partition of a service.
type Part struct {
	Partition int   `json:"partition"`
	Records   int64 `json:"records"`
	Bytes     int64 `json:"bytes"` // of keys and values
}

// Size sums up what m itself holds, without what it builds on.
func (m *Manifest) Size() (records, bytes int64) {
	for _, s := range m.Services {
		for _, p := range s.Parts {
			records, bytes = records+p.Records, bytes+p.Bytes
		}
	}
	return records, bytes
}

// service is what m holds of a service; nil if nothing.
func (m *Manifest) service(name string) *Service {
	if i := slices.IndexFunc(m.Services, func(s Service) bool { return s.Name == name }); i >= 0 {
		return &m.Services[i]
	}
	return nil
}

// Names of a backup's files.
const (
	manifestName = "manifest.json"
	sumsName     = "SHA256SUMS"
	treesName    = "trees.zst"
)

func partName(service string, p int) string { return fmt.Sprintf("%s/%04d.zst", service, p) }

// files are those of which m says that they are there, but for the sums.
func (m *Manifest) files() []string {
	names := []string{manifestName}
	for _, s := range m.Services {
		names = append(names, s.Name+"/"+treesName)
		for _, p := range s.Parts {
			names = append(names, partName(s.Name, p.Partition))
		}
	}
	slices.Sort(names)
	return names
}

// ErrDamaged says that a backup is not what it was when it was made.
var ErrDamaged = errors.New("the backup is damaged")

// ErrNoBackup says that a folder is no whole backup.
var ErrNoBackup = errors.New("no whole backup")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrDamaged, fmt.Errorf(format, args...))
}

// sums are the checksums of files, in hexadecimal, by name.
type sums map[string]string

// encode is how sha256sum writes them, by name.
func (s sums) encode() []byte {
	var b bytes.Buffer
	for _, name := range sortedKeys(s) {
		fmt.Fprintf(&b, "%s  %s\n", s[name], name)
	}
	return b.Bytes()
}

func sortedKeys(s sums) []string {
	names := make([]string, 0, len(s))
	for name := range s {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// parseSums undoes encode; nothing else is good.
func parseSums(b []byte) (sums, error) {
	s := sums{}
	for line := range strings.Lines(string(b)) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok {
			return nil, damaged("%s: a line is not as it was written", sumsName)
		}
		s[name] = sum
	}
	if !bytes.Equal(s.encode(), b) {
		return nil, damaged("%s: it is not as it was written", sumsName)
	}
	return s, nil
}

// Set is a whole backup in a folder.
type Set struct {
	Dir string
	Manifest
	sums sums
}

// Open reads what the backup in dir says of itself, and checks that. The other files are
// Verify's business.
func Open(dir string) (*Set, error) {
	b, err := os.ReadFile(filepath.Join(dir, sumsName))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(dir); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoBackup, err)
		}
		return nil, fmt.Errorf("%w: %s has no %s: it is something else, or a backup that was broken off", ErrNoBackup, dir, sumsName)
	}
	if err != nil {
		return nil, err
	}
	s := &Set{Dir: dir}
	if s.sums, err = parseSums(b); err != nil {
		return nil, err
	}
	b, err = os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		return nil, damaged("%w", err)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != s.sums[manifestName] {
		return nil, damaged("%s is not what %s says", manifestName, sumsName)
	}
	if err := json.Unmarshal(b, &s.Manifest); err != nil {
		return nil, damaged("%s: %w", manifestName, err)
	}
	if s.Format > Format {
		return nil, fmt.Errorf("%w that this version knows: %s is of format %d, this version reads up to %d: use a newer one", ErrNoBackup, dir, s.Format, Format)
	}
	if names := s.files(); !slices.Equal(names, sortedKeys(s.sums)) {
		return nil, damaged("%s and %s do not name the same files", manifestName, sumsName)
	}
	return s, nil
}

// Chain is a backup with those that it builds on, the newest first, a full one last.
type Chain []*Set

// OpenChain opens the backup in dir and all that it builds on.
func OpenChain(dir string) (Chain, error) {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real // what it builds on lies beside it, and not beside its name
	}
	var chain Chain
	for {
		s, err := Open(dir)
		if err != nil && len(chain) > 0 {
			return nil, fmt.Errorf("%s builds on the backup in %s: %w", chain[len(chain)-1].Dir, dir, err)
		}
		if err != nil {
			return nil, err
		}
		if n := len(chain); n > 0 {
			if last := chain[n-1]; s.ID != last.Base.ID {
				return nil, damaged("%s builds on backup %s, and in %s is another one, %s", last.Dir, last.Base.ID, dir, s.ID)
			}
		}
		chain = append(chain, s)
		if s.Base == nil {
			return chain, nil
		}
		dir = filepath.Join(s.Dir, s.Base.Dir)
	}
}

// Newest is the backup itself.
func (c Chain) Newest() *Set { return c[0] }
