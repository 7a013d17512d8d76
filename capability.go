package ringcore

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/metadata"
)

// Capability is something that nodes of one version can do and those of another cannot,
// or do otherwise; see Config.Capabilities.
type Capability = metadata.Capability

// Capability is the version of a capability that the cluster goes by now: the newest that
// every member can do, also those that are down; of a lasting one, what has been in use
// since all could. It is 0 if some cannot at all, and while the node belongs to no cluster.
// It does not wait and may be asked for each request; a vnode asks its Tx.
func (n *Node) Capability(name string) int {
	if c := n.core.Load(); c != nil {
		return c.capability(name)
	}
	return 0
}

// inUse is what capabilities a State puts in use.
type inUse struct {
	state    *metadata.State
	versions map[string]int
}

// capabilities answers what is in use without looking at all members each time.
type capabilities struct {
	own  []Capability // what this node can do
	last atomic.Pointer[inUse]
}

func (c *core) capability(name string) int {
	if !c.hasMeta.Load() {
		return 0
	}
	st := c.meta.State()
	last := c.caps.last.Load()
	if last == nil || last.state != st {
		last = &inUse{st, make(map[string]int)}
		for _, k := range c.caps.own {
			last.versions[k.Name] = min(st.InUse(k), k.Newest) // what is committed may be of a version that ran here before
		}
		c.caps.last.Store(last)
	}
	return last.versions[name]
}

// capabilities are what this node can do: what the core can, what c adds, and of each no
// more than c holds it to.
func (c *Config) capabilities() ([]Capability, error) {
	all := append([]Capability{metadata.Metadata(), {Name: backupCapability, Newest: 1}}, c.Capabilities...)
	held := maps.Clone(c.Hold)
	for i := range all {
		k := &all[i]
		if err := k.Check(); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(all[:i], func(o Capability) bool { return o.Name == k.Name }) {
			return nil, fmt.Errorf("capability %s is there twice: choose another name", k.Name)
		}
		if version, ok := held[k.Name]; ok {
			if version < k.Oldest || version > k.Newest {
				return nil, fmt.Errorf("hold %s=%d: this version can do %d to %d", k.Name, version, k.Oldest, k.Newest)
			}
			k.Newest = version
			delete(held, k.Name)
		}
	}
	for name := range held {
		return nil, fmt.Errorf("hold %s: this version knows no such capability", name)
	}
	return all, nil
}

// shrunk reports whether the cluster still believes that this node can do more than it
// can. Until it knows better others may ask for that, so the node is not ready.
func (c *core) shrunk() bool {
	m, ok := c.meta.State().Member(c.self.ID)
	return ok && slices.ContainsFunc(c.caps.own, func(k Capability) bool { return m.Can(k.Name) > k.Newest })
}

// Capabilities lists what nodes of different versions may differ in.
func (v view) Capabilities(context.Context) ([]admin.CapabilityView, error) {
	c, err := v.core()
	if err != nil {
		return nil, err
	}
	st := c.meta.State()
	list := []admin.CapabilityView{}
	for _, name := range capabilityNames(st, c.caps.own) {
		k := Capability{Name: name, Lasting: st.Used[name] > 0}
		if i := slices.IndexFunc(c.caps.own, func(o Capability) bool { return o.Name == name }); i >= 0 {
			k = c.caps.own[i]
		}
		cv := admin.CapabilityView{Name: name, InUse: st.InUse(k), Common: st.Common(name), Lasting: k.Lasting, Members: make(map[string]int)}
		best := 0
		for i := range st.Members {
			if m := &st.Members[i]; !m.Gone() {
				cv.Members[m.Name] = m.Can(name)
				best = max(best, m.Can(name))
			}
		}
		for name, can := range cv.Members {
			if can < best {
				cv.HeldBackBy = append(cv.HeldBackBy, name)
			}
		}
		slices.Sort(cv.HeldBackBy)
		list = append(list, cv)
	}
	return list, nil
}

// capabilityNames are those that any member, or this node, has a word for.
func capabilityNames(st *metadata.State, own []Capability) []string {
	names := make(map[string]bool)
	for _, k := range own {
		names[k.Name] = true
	}
	for i := range st.Members {
		if m := &st.Members[i]; !m.Gone() {
			for _, name := range m.Names() {
				names[name] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(names), cmp.Compare)
}

// version is what the node says of its software.
func (c *Config) version() string { return cmp.Or(c.Version, Version()) }
