package metadata

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Capability is something that nodes of one version can do and those of another
// cannot, or do otherwise. Each member says which versions of it it can do, and the
// cluster does what all of them can. Version 0 stands for not at all: that is what
// counts for a member that does not name it.
type Capability struct {
	Name string // 1 to 63 of a-z 0-9 . _ -, a letter first

	// Newest is the newest version that the node can do, Oldest the oldest that it can
	// still do; with 0 it can do without.
	Oldest, Newest int

	// Lasting says that what was done with a version stays, on a disk or in a log, so that
	// there is no way back: once all members can, the leader commits that it is in use, and
	// a node that cannot is not admitted any more. Such a capability is never taken off the
	// list again; its Oldest may rise. Any other goes by what the members can do now.
	Lasting bool
}

// MetadataCapability is that of this package: its versions are those of Command and of
// State.Format. It is in use from the first command of a version on.
const MetadataCapability = "metadata"

// Metadata is this package's own capability. A member that does not name it is of the
// first version, which did not know of capabilities.
func Metadata() Capability {
	return Capability{Name: MetadataCapability, Oldest: CommandVersion, Newest: newestCommand, Lasting: true}
}

var capabilityName = regexp.MustCompile(`^[a-z][a-z0-9._-]{0,62}$`)

// Check reports what is wrong with c.
func (c *Capability) Check() error {
	switch {
	case !capabilityName.MatchString(c.Name):
		return fmt.Errorf("capability %q: a name is 1 to 63 of a-z 0-9 . _ -, a letter first", c.Name)
	case c.Oldest < 0 || c.Newest < max(c.Oldest, 1):
		return fmt.Errorf("capability %s: versions %d to %d: the newest must be at least 1, and no less than the oldest", c.Name, c.Oldest, c.Newest)
	}
	return nil
}

// Claims is cs as a Member's Caps: "name=newest" or "name=oldest-newest", sorted.
func Claims(cs []Capability) []string {
	var claims []string
	for _, c := range cs {
		claim := c.Name + "="
		if c.Oldest > 0 {
			claim += strconv.Itoa(c.Oldest) + "-"
		}
		claims = append(claims, claim+strconv.Itoa(c.Newest))
	}
	slices.Sort(claims)
	return claims
}

// parseClaim reads one of Claims; what it cannot read is nothing that anybody here asks for.
func parseClaim(claim string) (name string, oldest, newest int, ok bool) {
	name, versions, ok := strings.Cut(claim, "=")
	if !ok {
		return "", 0, 0, false
	}
	low, high, both := strings.Cut(versions, "-")
	if !both {
		low, high = "0", versions
	}
	oldest, err1 := strconv.Atoi(low)
	newest, err2 := strconv.Atoi(high)
	return name, oldest, newest, err1 == nil && err2 == nil && oldest >= 0 && newest >= oldest
}

// Can is the newest version of a capability that m says it can do.
func (m *Member) Can(name string) int {
	for _, claim := range m.Caps {
		if n, _, newest, ok := parseClaim(claim); ok && n == name {
			return newest
		}
	}
	if name == MetadataCapability {
		return CommandVersion
	}
	return 0
}

// Names are the capabilities that m has a word for.
func (m *Member) Names() []string {
	var names []string
	for _, claim := range m.Caps {
		if name, _, _, ok := parseClaim(claim); ok {
			names = append(names, name)
		}
	}
	return names
}

// claiming is m with the claim of this package, if it makes none.
func claiming(m Member) Member {
	if !slices.ContainsFunc(m.Caps, func(c string) bool { return strings.HasPrefix(c, MetadataCapability+"=") }) {
		m.Caps = append(Claims([]Capability{Metadata()}), m.Caps...)
		slices.Sort(m.Caps)
	}
	return m
}

// Common is the newest version of a capability that all members can do which have not
// left, also those that are down: as they were last.
func (s *State) Common(name string) int {
	version, _ := s.common(name, "")
	return version
}

// common is Common of the members besides one, and who can do no more than that.
func (s *State) common(name string, without ring.NodeID) (version int, least *Member) {
	for i := range s.Members {
		m := &s.Members[i]
		if m.Gone() || m.ID == without {
			continue
		}
		if can := m.Can(name); least == nil || can < version {
			version, least = can, m
		}
	}
	return version, least
}

// InUse is the version of c that the cluster goes by: 0 for none.
func (s *State) InUse(c Capability) int {
	switch {
	case c.Name == MetadataCapability:
		return s.Format
	case c.Lasting:
		return s.Used[c.Name]
	}
	return s.Common(c.Name)
}

// use takes note that a version of a lasting capability is in use from now on.
func (s *State) use(name string, version int) (bool, error) {
	if !capabilityName.MatchString(name) || name == MetadataCapability {
		return false, wire.Errorf(wire.BadRequest, "use: %q is no capability that can be put in use", name)
	}
	if version <= s.Used[name] {
		return false, nil
	}
	if can, least := s.common(name, ""); can < version {
		return false, wire.Errorf(wire.Conflict, "%s %d: %s can do %d", name, version, least.Name, can)
	}
	used := maps.Clone(s.Used)
	if used == nil {
		used = make(map[string]int)
	}
	used[name] = version
	s.Used = used
	return true, nil
}

// lacks says what m cannot do that the cluster uses for good; empty if nothing.
func (s *State) lacks(m *Member) string {
	if s.Format < 2 {
		return "" // nothing is in use that the first version does not know
	}
	for _, name := range append([]string{MetadataCapability}, slices.Sorted(maps.Keys(s.Used))...) {
		used := s.Used[name]
		if name == MetadataCapability {
			used = s.Format
		}
		if can := m.Can(name); can < used {
			return fmt.Sprintf("%s (version %s) can do %s %d, and the cluster uses %d for good: start it with a version that can",
				m.Name, cmp.Or(m.Version, "unknown"), name, can, used)
		}
	}
	return ""
}

// fits says why a node that makes m's claims cannot be a member; empty if it can. That
// others can do too little for it is a rule of the second version: while there are
// members of the first, which do not know it, it is not in force.
func (s *State) fits(m *Member) string {
	if why := s.lacks(m); why != "" {
		return why
	}
	if can, _ := s.common(MetadataCapability, m.ID); can < 2 {
		return ""
	}
	for _, claim := range m.Caps {
		name, oldest, _, ok := parseClaim(claim)
		if !ok || oldest == 0 {
			continue
		}
		if can, least := s.common(name, m.ID); can < oldest {
			return fmt.Sprintf("%s (version %s) needs %s %d, and %s (version %s) can do %d: upgrade that member first, or start this one with a version between",
				m.Name, cmp.Or(m.Version, "unknown"), name, oldest, least.Name, cmp.Or(least.Version, "unknown"), can)
		}
	}
	return ""
}

// adoptions are the commands that put lasting capabilities in use which all members have
// by now.
func (s *State) adoptions(cs []Capability) []Command {
	if s.Common(MetadataCapability) < 2 {
		return nil // there are members that would not know the command
	}
	var use []Command
	for _, c := range cs {
		if version := s.Common(c.Name); c.Lasting && c.Name != MetadataCapability && version > s.Used[c.Name] {
			use = append(use, useCommand(c.Name, version))
		}
	}
	return use
}
