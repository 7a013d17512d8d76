package ringcore

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A data directory that a newer version has gone on with is refused, and says what to do.
func TestDirectoryOfNewerVersion(t *testing.T) {
	dir := t.TempDir()
	n := testNode(t, Config{Name: "n1", Dir: dir, Partitions: 8})
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "node.json")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	newer := strings.Replace(string(b), `"format": 1`, `"format": 2`, 1)
	if newer == string(b) {
		t.Fatalf("no format in %s", b)
	}
	if err := os.WriteFile(path, []byte(newer), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), Config{Name: "n1", Dir: dir, Addr: "127.0.0.1:0", GossipAddr: "127.0.0.1:0", HTTPAddr: off, RESPAddr: off})
	if err == nil || !strings.Contains(err.Error(), "start the newer version again") {
		t.Errorf("open: %v", err)
	}
}

// What Config says about capabilities is checked before anything is opened.
func TestCapabilitiesOfConfig(t *testing.T) {
	likes := Capability{Name: "likes.format", Newest: 2}
	for _, tc := range []struct {
		cfg  Config
		want string
	}{
		{Config{Capabilities: []Capability{{Name: "Likes", Newest: 1}}}, "a name is"},
		{Config{Capabilities: []Capability{{Name: "likes"}}}, "at least 1"},
		{Config{Capabilities: []Capability{{Name: "likes", Oldest: 3, Newest: 2}}}, "no less than the oldest"},
		{Config{Capabilities: []Capability{likes, likes}}, "twice"},
		{Config{Capabilities: []Capability{{Name: "metadata", Newest: 1}}}, "twice"},
		{Config{Capabilities: []Capability{likes}, Hold: map[string]int{"likes.format": 3}}, "can do 0 to 2"},
		{Config{Hold: map[string]int{"likes.format": 1}}, "knows no such capability"},
	} {
		tc.cfg.Dir = filepath.Join(t.TempDir(), "d")
		_, err := Open(t.Context(), tc.cfg)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v, want %q", tc.cfg.Capabilities, err, tc.want)
		}
		if _, err := os.Stat(tc.cfg.Dir); err == nil {
			t.Error("the directory was made")
		}
	}
}

// formats is a service that tells in which form it would write.
type formats struct{}

func (formats) Command(tx *Tx, _ []byte) ([]byte, error) {
	return []byte{byte(tx.Capability("forms.format")), byte(tx.Capability("forms.wire"))}, nil
}

// A service of one's own writes what all members understand, and more by itself when the
// last one can; its vnodes and its node say the same.
func TestServiceAsksWhatAllCan(t *testing.T) {
	start := func(dir string, newest int, join ...string) *Node {
		return testNode(t, Config{
			Dir: dir, Name: filepath.Base(dir), Partitions: 8, Join: join,
			Services:     []Service{{Name: "forms", N: 1, New: func(Partition) Vnode { return formats{} }}},
			Capabilities: []Capability{{Name: "forms.format", Newest: newest, Lasting: true}, {Name: "forms.wire", Newest: newest}},
		})
	}
	dir := t.TempDir()
	says := func(n *Node, format, wire int) {
		t.Helper()
		eventually(t, n.cfg.Name+" goes by that", func() error {
			reply, err := n.Command(t.Context(), "forms", Call{Key: []byte("k")})
			if err == nil && (len(reply) != 2 || int(reply[0]) != format || int(reply[1]) != wire) {
				err = &Error{Message: string(reply)}
			}
			if err == nil && (n.Capability("forms.format") != format || n.Capability("forms.wire") != wire || n.Capability("forms.none") != 0) {
				err = &Error{Message: "the node says otherwise"}
			}
			return err
		})
	}
	n1 := start(filepath.Join(dir, "n1"), 2)
	says(n1, 2, 2)
	n2 := start(filepath.Join(dir, "n2"), 3, n1.Info().Addr)
	settled(t, n1, n2)
	says(n1, 2, 2)
	says(n2, 2, 2)
	if err := n1.Close(); err != nil {
		t.Fatal(err)
	}
	n1 = start(filepath.Join(dir, "n1"), 3)
	says(n1, 3, 3)
	says(n2, 3, 3)
}
