package dataplane

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// gossiper is a node that gossips, and what it was told.
type gossiper struct {
	*Gossip
	id     ring.NodeID
	nodes  chan nodeNews
	epochs chan epochNews
}

func openGossiper(t *testing.T, cfg GossipConfig) *gossiper {
	t.Helper()
	g := &gossiper{id: cfg.Identity.NodeID, nodes: make(chan nodeNews, 100), epochs: make(chan epochNews, 100)}
	cfg.Bind, cfg.Profile = "127.0.0.1:0", ProfileLocal
	if cfg.Key == nil {
		cfg.Key = bytes.Repeat([]byte{7}, 32)
	}
	cfg.Self = wire.Introduction{ClusterID: "c1", NodeID: string(g.id), Name: "name of " + string(g.id), Addr: "10.0.0.1:7400", Epoch: 3}
	cfg.OnNode = func(n wire.Introduction, alive bool) { g.nodes <- nodeNews{n, alive} }
	cfg.OnEpoch = func(from ring.NodeID, epoch uint64) { g.epochs <- epochNews{from, epoch} }
	var err error
	if g.Gossip, err = OpenGossip(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g
}

// hears waits until g is told that node is alive or not, and returns what it is told.
func (g *gossiper) hears(t *testing.T, node ring.NodeID, alive bool) wire.Introduction {
	t.Helper()
	for {
		if n := receive(t, g.nodes); n.intro.NodeID == string(node) && n.alive == alive {
			return n.intro
		}
	}
}

func TestGossipOfThree(t *testing.T) {
	a := openGossiper(t, GossipConfig{Identity: identity("a")})
	b := openGossiper(t, GossipConfig{Identity: identity("b")})
	c := openGossiper(t, GossipConfig{Identity: identity("c")})
	for _, g := range []*gossiper{b, c} {
		if n, err := g.Join([]string{a.Addr()}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	want := wire.Introduction{NodeID: "c", Name: "name of c", Addr: "10.0.0.1:7400", GossipAddr: c.Addr()}
	for _, g := range []*gossiper{a, b} {
		if in := g.hears(t, "c", true); in != want {
			t.Fatalf("%s hears %+v", g.id, in)
		}
	}

	// An epoch reaches everybody, also through a third; an older one nobody.
	b.AnnounceEpoch(12)
	for _, g := range []*gossiper{a, c} {
		if e := receive(t, g.epochs); e != (epochNews{"b", 12}) {
			t.Fatalf("%s hears %+v", g.id, e)
		}
	}
	c.AnnounceEpoch(11)
	c.AnnounceEpoch(13)
	for _, g := range []*gossiper{a, b} {
		if e := receive(t, g.epochs); e != (epochNews{"c", 13}) {
			t.Fatalf("%s hears %+v", g.id, e)
		}
	}

	moved := want
	moved.Addr = "10.0.0.2:7400"
	if err := c.Update(moved); err != nil {
		t.Fatal(err)
	}
	for in := a.hears(t, "c", true); in.Addr != moved.Addr; in = a.hears(t, "c", true) {
	}

	figuresOfTheLiving(t, a, b, c)
	if err := b.Leave(5 * time.Second); err != nil { // says so
		t.Fatal(err)
	}
	a.hears(t, "b", false)
	_ = b.Close()
	if err := b.Leave(time.Second); err != nil { // too late, and no panic
		t.Fatal(err)
	}
	c.hears(t, "b", false)
	_ = c.Close() // dies
	a.hears(t, "c", false)
	figuresOfTheLast(t, a, b, c)
}

// A node that is no member is heard of by nobody, whatever it sends.
func TestUnknownNodesAreIgnored(t *testing.T) {
	known := func(id ring.NodeID) bool { return id != "x" }
	a := openGossiper(t, GossipConfig{Identity: identity("a"), Known: known})
	x := openGossiper(t, GossipConfig{Identity: identity("x")})
	if _, err := x.Join([]string{"a/" + a.Addr()}); err != nil {
		t.Fatal(err)
	}
	x.hears(t, "a", true)
	x.AnnounceEpoch(99)
	b := openGossiper(t, GossipConfig{Identity: identity("b"), Known: known})
	if _, err := b.Join([]string{a.Addr(), x.Addr()}); err != nil {
		t.Fatal(err)
	}
	a.hears(t, "b", true)
	b.AnnounceEpoch(5)
	if e := receive(t, a.epochs); e != (epochNews{"b", 5}) {
		t.Fatalf("heard %+v", e)
	}
	for _, g := range []*gossiper{a, b} {
		for len(g.nodes) > 0 {
			if n := <-g.nodes; n.intro.NodeID == "x" {
				t.Fatalf("%s heard of x", g.id)
			}
		}
	}
}

// Without the key, or with another cluster's label, nobody gets in.
func TestGossipIsClosedToStrangers(t *testing.T) {
	a := openGossiper(t, GossipConfig{Identity: identity("a")})
	for name, cfg := range map[string]GossipConfig{
		"key":   {Identity: identity("x"), Key: bytes.Repeat([]byte{8}, 32)},
		"label": {Identity: Identity{ClusterID: "c2", NodeID: "x"}},
	} {
		if n, err := openGossiper(t, cfg).Join([]string{a.Addr()}); err == nil {
			t.Errorf("other %s: %d nodes answered", name, n)
		}
	}
	if len(a.nodes) > 0 {
		t.Errorf("heard of %+v", <-a.nodes)
	}
}

func TestOpenGossipRefuses(t *testing.T) {
	good := GossipConfig{Identity: identity("a"), Bind: "127.0.0.1:0", Key: make([]byte, 32)}
	for name, change := range map[string]func(*GossipConfig){
		"short key":       func(c *GossipConfig) { c.Key = make([]byte, 16) },
		"no node id":      func(c *GossipConfig) { c.Identity.NodeID = "" },
		"no port":         func(c *GossipConfig) { c.Bind = "127.0.0.1" },
		"long name":       func(c *GossipConfig) { c.Self.Name = strings.Repeat("n", 600) },
		"advertised name": func(c *GossipConfig) { c.Advertise = "no such host.invalid:1" },
	} {
		cfg := good
		change(&cfg)
		if g, err := OpenGossip(cfg); err == nil {
			t.Errorf("%s: opened", name)
			_ = g.Close()
		}
	}
}

func TestGossipLog(t *testing.T) {
	var out bytes.Buffer
	l := memberlistLogger(slog.New(slog.NewTextHandler(&out, nil)), func(string) {})
	l.Printf("[ERR] memberlist: it broke: %d", 1)
	l.Printf("[WARN] memberlist: Refuting")
	l.Printf("[DEBUG] memberlist: Stream")
	l.Printf("untagged")
	for _, want := range []string{`level=WARN msg="gossip says" text="it broke: 1"`, `level=INFO msg="gossip says" text=Refuting`, "text=untagged"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %s", want, out.String())
		}
	}
	for range 1000 {
		l.Printf("[ERR] again")
	}
	if lines := strings.Count(out.String(), "again"); lines > 6*gossipLogRate {
		t.Errorf("%d lines of a flood", lines)
	}
}

func TestParseEpoch(t *testing.T) {
	e := epochNews{"0123456789abcdef", 1 << 40}
	if got, ok := parseEpoch(e.encode()); !ok || got != e {
		t.Fatalf("got %+v", got)
	}
	for _, b := range [][]byte{nil, {epochKind}, {2, 0, 0, 0, 0, 0, 0, 0, 1, 'a'}, {epochKind, 0, 0, 0, 0, 0, 0, 0, 1}} {
		if got, ok := parseEpoch(b); ok {
			t.Errorf("%x is read as %+v", b, got)
		}
	}
}
