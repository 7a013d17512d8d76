package vnodes

import (
	"fmt"
	"strings"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// The names of files, under the folder of the vnodes' files.

func slotFile(svc *service, p ring.Partition) string {
	return fmt.Sprintf("%s/p%04d.bolt", svc.Name, p)
}

// stagingSuffix ends the name of a store that a transfer fills.
const stagingSuffix = ".staging"

func stagingFile(svc *service, p ring.Partition, session string) string {
	return fmt.Sprintf("%s/p%04d.%s%s", svc.Name, p, session, stagingSuffix)
}

func hintFile(svc *service, p ring.Partition, fallback ring.NodeID) string {
	return fmt.Sprintf("%s/hints/p%04d.%s.bolt", svc.Name, p, fallback)
}

// findFiles looks at what an earlier run has left: it opens hints, deletes what was
// staged for sessions that are not ready, and notes a slot's file that a crash has
// left between being made and being noted.
func (m *Manager) findFiles() error {
	names, err := m.storage.List()
	if err != nil {
		return fmt.Errorf("list files: %w", err)
	}
	if m.disk != nil {
		unfinished, err := m.disk.unfinished()
		if err != nil {
			return fmt.Errorf("list files: %w", err)
		}
		names = append(names, unfinished...)
	}
	for _, name := range names {
		if err := m.find(name); err != nil {
			return fmt.Errorf("file %s of an earlier run: %w", name, err)
		}
	}
	return nil
}

func (m *Manager) find(name string) error {
	dir, file, _ := strings.Cut(name, "/")
	svc := m.services[wire.ServiceID(dir)]
	if svc == nil || svc.Name != dir {
		return nil // of a service that is not registered in this run
	}
	hint, isHint := strings.CutPrefix(file, "hints/")
	stem, isStaging := strings.CutSuffix(file, stagingSuffix)
	switch {
	case isHint:
		part, node, _ := strings.Cut(strings.TrimSuffix(hint, ".bolt"), ".")
		p, ok := partitionNamed(svc, part)
		if !ok {
			return nil
		}
		m.mu.Lock()
		m.claimOf(ring.NodeID(node)).held[vnodeID{service: svc.id, partition: p, fallback: ring.NodeID(node)}] = struct{}{}
		m.mu.Unlock()
		_, err := m.hintVnode(svc, p, ring.NodeID(node), true)
		return err
	case isStaging:
		_, session, _ := strings.Cut(stem, ".")
		if m.arrived[session] != nil || m.parkFound(session) {
			return nil
		}
		return m.storage.Remove(name)
	}
	if _, ok := partitionNamed(svc, strings.TrimSuffix(file, ".bolt")); ok && !m.journal.HasFile(name) {
		return m.journal.MarkFile(name)
	}
	return nil
}

// partitionNamed reads the part of a file's name that says which partition it is of.
func partitionNamed(svc *service, s string) (ring.Partition, bool) {
	var p ring.Partition
	n, err := fmt.Sscanf(s, "p%04d", &p)
	return p, n == 1 && err == nil && int(p) < len(svc.vnodes)
}

// mournFiles notes every slot of this node as one whose file must exist: the node
// has been here before and the whole folder is gone, so that an empty slot would
// deny what was acknowledged.
func (m *Manager) mournFiles() error {
	m.log.Error("the folder of the vnodes is gone; its slots are unavailable here", "dir", m.cfg.Dir)
	r := m.rings.Ring()
	for _, svc := range m.services {
		for p := range r.Assignments {
			p := ring.Partition(p)
			if !within(r.Place(p, m.node), svc.replicas(r)) {
				continue
			}
			if err := m.journal.MarkFile(slotFile(svc, p)); err != nil {
				return err
			}
		}
	}
	return nil
}
