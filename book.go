package ringcore

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"sync"
	"time"

	"github.com/ringcore/ringcore/dataplane"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// addressBook is what nodes have said lately of where they are. It is newer than
// what is committed when nodes have been restarted elsewhere, so it is kept in a
// file: otherwise a cluster that moves twice before it can commit would not find
// itself again.
type addressBook struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex // held for a map operation, and to write the small file when something is new
	entries map[ring.NodeID]wire.Introduction
}

// openBook reads the file at path. A missing or damaged one is an empty book:
// it only ever helps.
func openBook(path string, log *slog.Logger) *addressBook {
	b := &addressBook{path: path, log: log, entries: make(map[ring.NodeID]wire.Introduction)}
	raw, err := os.ReadFile(path)
	if err != nil {
		return b
	}
	var entries map[ring.NodeID]wire.Introduction
	if err := json.Unmarshal(raw, &entries); err != nil {
		log.Warn("address book not readable", "err", err)
		return b
	}
	maps.Copy(b.entries, entries)
	return b
}

// put notes what a node says of itself.
func (b *addressBook) put(i wire.Introduction) {
	i.Epoch, i.Generation = 0, wire.Generation{}
	b.mu.Lock()
	defer b.mu.Unlock()
	id := ring.NodeID(i.NodeID)
	if b.entries[id] == i {
		return
	}
	b.entries[id] = i
	raw, err := json.MarshalIndent(b.entries, "", "  ")
	if err == nil {
		err = os.WriteFile(b.path+".tmp", raw, 0o600)
	}
	if err == nil {
		err = os.Rename(b.path+".tmp", b.path)
	}
	if err != nil {
		b.log.Warn("address book not saved", "err", err)
	}
}

func (b *addressBook) get(id ring.NodeID) (wire.Introduction, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i, ok := b.entries[id]
	return i, ok
}

// resolve tells where a member listens now.
func (c *core) resolve(id ring.NodeID) (string, bool) {
	if i, ok := c.book.get(id); ok {
		return i.Addr, true
	}
	if !c.hasMeta.Load() {
		return "", false
	}
	m, ok := c.meta.State().Member(id)
	return m.Addr, ok
}

// introduction is what this node says of itself.
func (c *core) introduction() wire.Introduction {
	return wire.Introduction{
		ClusterID: c.clusterID, NodeID: string(c.self.ID), Name: c.self.Name, Addr: c.self.Addr,
		GossipAddr: c.self.GossipAddr, HTTPAddr: c.self.HTTPAddr, RESPAddr: c.self.RESPAddr,
		Generation: c.generation,
	}
}

// heardOf is told by gossip of a node that is there or gone.
func (c *core) heardOf(i wire.Introduction, alive bool) {
	if alive {
		c.book.put(i)
	}
	c.live.GossipAlive(ring.NodeID(i.NodeID), alive)
}

// sawEpoch notices that another node knows newer metadata.
func (c *core) sawEpoch(from ring.NodeID, epoch uint64) {
	if g := ring.Epoch(epoch).Generation(); g != c.generation.N {
		c.outdated(from, g) // nothing can be fetched across generations
		return
	}
	if !c.hasMeta.Load() || epoch <= c.epoch() || c.fetching.Swap(true) {
		return
	}
	started := c.spawn(func() {
		defer c.fetching.Store(false)
		ctx, cancel := context.WithTimeout(c.ctx, 2*time.Second)
		defer cancel()
		if err := c.meta.Fetch(ctx, ring.Epoch(epoch), from); err != nil {
			c.n.log.Debug("newer metadata not fetched", "peer", from, "epoch", epoch, "err", err)
		}
	})
	if !started {
		c.fetching.Store(false)
	}
}

// keepInTouch finds the other members: by where they were last, by the seeds, and
// again whenever some are not up. Each is told once where this node is now, also those
// that requests from here have reached before: they would dial where it was.
func (c *core) keepInTouch() {
	told := make(map[ring.NodeID]bool)
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		for _, id := range c.live.Unsure() {
			c.answers(c.ctx, id) // what it learns, liveness learns
		}
		missing := c.missing(told)
		if len(missing) > 0 {
			c.seek(missing, told)
		} else {
			wait = time.Second
		}
		if !pause(c.ctx, wait) {
			return
		}
	}
}

// missing are the members that are not up, or not told.
func (c *core) missing(told map[ring.NodeID]bool) []ring.NodeID {
	var ids []ring.NodeID
	for _, id := range c.others() {
		if !c.live.Up(id) || !told[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

// seek asks at every address that is known for who is there now, and notes who has
// answered, and so been told.
func (c *core) seek(missing []ring.NodeID, told map[ring.NodeID]bool) {
	addrs := make(map[string]bool)
	for _, seed := range c.n.cfg.Join {
		addrs[seed] = true
	}
	st := c.meta.State()
	for _, id := range missing {
		if i, ok := c.book.get(id); ok {
			addrs[i.Addr] = true
		}
		if m, ok := st.Member(id); ok {
			addrs[m.Addr] = true
		}
	}
	var gossip []string
	for addr := range addrs {
		i, err := c.introduce(addr)
		if err != nil || i.ClusterID != c.clusterID || !c.isCurrent(ring.NodeID(i.NodeID)) || i.NodeID == string(c.self.ID) {
			continue
		}
		c.book.put(i)
		told[ring.NodeID(i.NodeID)] = true
		gossip = append(gossip, i.GossipAddr)
		c.sawEpoch(ring.NodeID(i.NodeID), i.Epoch)
	}
	if len(gossip) > 0 {
		if _, err := c.gossip.Join(gossip); err != nil {
			c.n.log.Debug("gossip not joined yet", "err", err)
		}
	}
}

// introduce asks the node at addr who it is.
func (c *core) introduce(addr string) (wire.Introduction, error) {
	ctx, cancel := context.WithTimeout(c.ctx, time.Second)
	defer cancel()
	return introduceTo(ctx, addr, dataplane.Identity{NodeID: c.self.ID, Addr: c.self.Addr}, c.introduction())
}

func introduceTo(ctx context.Context, addr string, who dataplane.Identity, me wire.Introduction) (wire.Introduction, error) {
	body, err := json.Marshal(me)
	if err != nil {
		return wire.Introduction{}, err
	}
	f, err := dataplane.CallStranger(ctx, addr, who, wire.OpIntroduce, body)
	if err != nil {
		return wire.Introduction{}, err
	}
	var i wire.Introduction
	return i, json.Unmarshal(f.Body, &i)
}
