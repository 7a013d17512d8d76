package vnodes

import (
	"fmt"
	"regexp"
	"sync/atomic"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

var serviceName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)

// service is a registered Service with what its vnodes share.
type service struct {
	Service
	id     uint32
	merger Merger          // nil: the newest stamp wins
	judge  Superseder      // nil: by the stamp, without a Merger; never, with one
	blind  BlindCommander  // nil: every command reads
	prompt PromptCommander // nil: no command is
	items  CoverMerger     // nil: of coverage items the newest wins
	solver Resolver        // nil: a query is answered by one replica
	proto  Vnode           // answers questions of kind; never runs a command
	info   wire.ServiceInfo

	vnodes []atomic.Pointer[vnode] // by partition: the slots' vnodes that are open
}

// newService checks s and asks a throw-away vnode what it can do.
func newService(s Service, q int) (*service, error) {
	switch {
	case !serviceName.MatchString(s.Name):
		return nil, fmt.Errorf("service %q: a name is 1 to 63 of a-z 0-9 _ -, a letter first", s.Name)
	case s.N < 0 || s.N > ring.MaxReplicas:
		return nil, fmt.Errorf("service %s: N is %d, must be 0 to %d", s.Name, s.N, ring.MaxReplicas)
	case s.New == nil:
		return nil, fmt.Errorf("service %s: New is missing", s.Name)
	}
	svc := &service{Service: s, id: wire.ServiceID(s.Name), proto: s.New(0), vnodes: make([]atomic.Pointer[vnode], q)}
	svc.merger, _ = svc.proto.(Merger)
	svc.judge, _ = svc.proto.(Superseder)
	svc.blind, _ = svc.proto.(BlindCommander)
	svc.prompt, _ = svc.proto.(PromptCommander)
	svc.items, _ = svc.proto.(CoverMerger)
	svc.solver, _ = svc.proto.(Resolver)
	svc.info = wire.ServiceInfo{
		Name: s.Name, Resolves: svc.solver != nil,
		Blind: func(cmd []byte) bool { return !svc.reads(cmd) },
	}
	if svc.items != nil {
		svc.info.MergeItems = svc.mergeItems
	}
	svc.info.MergeFold = svc.mergeFold
	return svc, nil
}

// replicas is how many places of a partition's list the service uses.
func (s *service) replicas(r *ring.Ring) int {
	if s.N == 0 {
		return r.N
	}
	return s.N
}

// checkReplicas refuses a service whose commands would be wrong on n replicas.
func (s *service) checkReplicas(n int) error {
	if n > 1 && s.merger == nil && s.blind == nil {
		return fmt.Errorf("service %s: with %d replicas its vnode must either be a BlindCommander (commands that do not read what they replace; "+
			"the newest wins) or a Merger (its own rule for two versions of a record); or register it with N: 1", s.Name, n)
	}
	return nil
}

// reads reports whether cmd must see the newest record to be right. One that makes
// Blind panic does.
func (s *service) reads(cmd []byte) (reads bool) {
	defer func() {
		if recover() != nil {
			reads = true
		}
	}()
	return s.blind == nil || !s.blind.Blind(cmd)
}

// merge makes one record of what is there and what comes in.
func (s *service) merge(key []byte, have, incoming Record) Record {
	if s.merger != nil {
		return s.merger.Merge(key, have, incoming)
	}
	return have.Newer(incoming)
}

// superseded reports whether have would hide what the new write fresh brings.
func (s *service) superseded(key []byte, have, fresh Record) bool {
	switch {
	case s.judge != nil:
		return s.judge.Superseded(key, have, fresh)
	case s.merger != nil:
		return false
	}
	return have.Stamp.Compare(fresh.Stamp) > 0
}

// infoOn is what routing must know of s on ring r.
func (s *service) infoOn(r *ring.Ring) wire.ServiceInfo {
	info := s.info
	info.N = s.replicas(r)
	return info
}

// mergeItems is the service's merge of two coverage items; a panic in it is an error.
func (s *service) mergeItems(req []byte, a, b *Item) (merged Item, err error) {
	defer func() {
		if why := recover(); why != nil {
			err = fmt.Errorf("%w: %v", errPanicked, why)
		}
	}()
	return s.items.MergeItems(req, *a, *b)
}
