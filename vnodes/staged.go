package vnodes

import (
	"encoding/json"
	"errors"
	"io/fs"
	"sync"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// staged is what a session has brought and is not verified yet. While no stream of the
// session is there it is parked, until one goes on or the session ends.
type staged struct {
	session Session
	stores  map[string]Store // by service; after a restart not opened yet

	mu     sync.Mutex          // held for memory operations
	keys   map[string][]byte   // the last key that is durable, by service
	since  map[string]logPoint // what the source has said of its log
	failed error               // of a write: nobody goes on with this
}

func newStaged() *staged {
	return &staged{stores: make(map[string]Store), keys: make(map[string][]byte), since: make(map[string]logPoint)}
}

// wrote notes that the records up to key are durable, or that they are not. The source
// sends keys in their order until all are sent; of what changes meanwhile its log tells.
func (s *staged) wrote(service string, key []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil:
		s.failed = err
	case string(key) > string(s.keys[service]):
		s.keys[service] = key
	}
}

// finish waits until all that was appended is durable, in stores that can be renamed.
func (s *staged) finish() error {
	for name, st := range s.stores {
		whole, err := wholeStore(st)
		if err != nil {
			return err
		}
		s.stores[name] = whole
	}
	return s.sync()
}

// sync waits until all that was appended is durable.
func (s *staged) sync() error {
	var errs []error
	for _, st := range s.stores {
		errs = append(errs, st.Sync())
	}
	return errors.Join(errs...)
}

// enterSession makes this stream the only one of its session, and takes over or clears
// what an earlier one has staged. leave must be called when the stream has ended.
func (m *Manager) enterSession(rc *receiver, st Stream) (leave func(), err error) {
	id := rc.open.Session.ID
	in := &incoming{st: st, done: make(chan struct{})}
	for {
		m.mu.Lock()
		other := m.incoming[id]
		if other == nil {
			m.incoming[id] = in
			m.mu.Unlock()
			break
		}
		m.mu.Unlock()
		_ = other.st.Close()
		<-other.done
	}
	rc.staging.session = rc.open.Session
	leave = func() {
		m.park(rc.staging)
		m.mu.Lock()
		delete(m.incoming, id)
		m.mu.Unlock()
		close(in.done)
	}
	but := ""
	if rc.open.Resume {
		but = id
	}
	if err = m.discardAll(rc.p, but); err == nil {
		err = m.takeUp(rc)
	}
	if err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// takeUp takes what an earlier stream has staged, if the source asks for it, and deletes
// what it cannot take.
func (m *Manager) takeUp(rc *receiver) error {
	id := rc.open.Session.ID
	m.mu.Lock()
	old, ready := m.parked[id], m.arrived[id]
	delete(m.parked, id)
	if rc.open.Resume {
		delete(m.arrived, id)
	}
	m.mu.Unlock()
	if rc.open.Resume && ready != nil { // its source has not heard of it, and goes on
		if err := m.journal.DeleteSession(id); err != nil {
			return err
		}
		old = newStaged()
		old.stores = ready.stores
	}
	if old != nil {
		rc.staging.stores, rc.staging.keys, rc.staging.since = old.stores, old.keys, old.since
	}
	var errs []error
	for _, svc := range rc.services {
		if rc.staging.stores[svc.Name] != nil {
			continue
		}
		name := stagingFile(svc, rc.p, id)
		if old != nil {
			st, last, err := m.reopenStaging(m.stagingIdentity(svc, rc.p, id), name)
			if err == nil {
				rc.staging.stores[svc.Name] = st
				rc.staging.keys[svc.Name] = last
				continue
			}
			if !errors.Is(err, fs.ErrNotExist) {
				m.log.Warn("staged records not used", "transfer", id, "partition", rc.p, "err", err)
			}
		}
		errs = append(errs, m.storage.Remove(name))
	}
	return errors.Join(errs...)
}

func (m *Manager) stagingIdentity(svc *service, p ring.Partition, session string) Identity {
	id := m.identity(svc, p, "")
	id.Session = session
	return id
}

// createStaging makes the store that a session fills.
func (m *Manager) createStaging(id Identity, name string) (Store, error) {
	if m.disk == nil {
		return m.storage.Create(id, name)
	}
	return m.disk.Fill(id, name)
}

// reopenStaging opens what an earlier run of this node has staged, and tells up to which
// key the source's fold is in it, if that is known.
func (m *Manager) reopenStaging(id Identity, name string) (Store, []byte, error) {
	st, err := m.storage.Open(id, name)
	if errors.Is(err, fs.ErrNotExist) && m.disk != nil {
		return m.disk.Refill(id, name)
	}
	return st, nil, err
}

// kept tells the source what it need not send again.
func (rc *receiver) kept() []byte {
	k := handoffKept{Services: make(map[string]keptRecords)}
	for name := range rc.staging.stores {
		has := keptRecords{Key: rc.staging.keys[name]}
		if since, ok := rc.staging.since[name]; ok {
			has.Since = &since
		}
		k.Services[name] = has
	}
	for name, since := range rc.open.Since {
		if rc.staging.stores[name] == nil {
			rc.staging.since[name] = since // as of the first record; later streams tell of later ones
		}
	}
	if len(k.Services) == 0 {
		return nil
	}
	body, err := json.Marshal(k)
	if err != nil {
		return nil
	}
	return body
}

// stage appends a chunk to the session's file. Later records replace earlier ones: the
// source sends each key's newest last.
func (rc *receiver) stage(svc *service, writes []Write) (done <-chan error) {
	if err := rc.m.writable("the records were not taken"); err != nil {
		return settled(err)
	}
	st := rc.staging.stores[svc.Name]
	if st == nil {
		var err error
		id := rc.m.stagingIdentity(svc, rc.p, rc.open.Session.ID)
		if st, err = rc.m.createStaging(id, stagingFile(svc, rc.p, id.Session)); err != nil {
			return settled(err)
		}
		rc.staging.stores[svc.Name] = st
	}
	finished := make(chan error, 1)
	var last []byte
	for i := range writes {
		if key := writes[i].Key; string(key) > string(last) {
			last = key
		}
	}
	st.Append(writes, func(err error) {
		rc.staging.wrote(svc.Name, last, err)
		finished <- err
	})
	return finished
}

// park keeps what a stream has staged for the next one of its session, if there may be one.
func (m *Manager) park(s *staged) {
	if len(s.stores) == 0 {
		return
	}
	err := s.sync()
	m.mu.Lock()
	m.parked[s.session.ID] = s
	m.mu.Unlock()
	s.mu.Lock()
	failed := s.failed
	s.mu.Unlock()
	_, over := m.ended(&s.session)
	if err == nil && failed == nil && !over {
		return
	}
	if err := m.dropParked(s.session.ID); err != nil {
		m.log.Warn("staging file not removed", "transfer", s.session.ID, "err", err)
	}
}

// parkFound notes that an earlier run has staged records for a session; false if it is
// not open. Before the manager is open.
func (m *Manager) parkFound(id string) bool {
	if m.parked[id] != nil {
		return true
	}
	for _, x := range m.transfers.Sessions() {
		if x.ID == id {
			s := newStaged()
			s.session = x
			m.parked[id] = s
			return true
		}
	}
	return false
}

// dropParked deletes what is staged for a session without a stream.
func (m *Manager) dropParked(id string) error {
	m.mu.Lock()
	s := m.parked[id]
	delete(m.parked, id)
	m.mu.Unlock()
	if s == nil {
		return nil
	}
	var errs []error
	for _, st := range s.stores {
		errs = append(errs, st.Drop())
	}
	for _, svc := range m.services {
		if s.stores[svc.Name] == nil {
			errs = append(errs, m.storage.Remove(stagingFile(svc, s.session.Partition, id)))
		}
	}
	return errors.Join(errs...)
}

// dropEndedParked deletes what is parked for sessions that have ended.
func (m *Manager) dropEndedParked() {
	m.mu.Lock()
	var all []Session
	for _, s := range m.parked {
		all = append(all, s.session)
	}
	m.mu.Unlock()
	for i := range all {
		if _, over := m.ended(&all[i]); !over {
			continue
		}
		if err := m.dropParked(all[i].ID); err != nil {
			m.log.Warn("staging file not removed", "transfer", all[i].ID, "err", err)
		}
	}
}

// acks answers the frames of a stream in their order, each when it is done, so that the
// next one is taken while the disk is busy with those before it.
type acks struct {
	answer *answerer
	rc     *receiver
	queue  chan pendingAck
	broken chan struct{} // closed when an answer was an error, or could not be sent
	ended  chan struct{}
}

type pendingAck struct {
	frame wire.Frame // without its body
	done  <-chan error
}

func newAcks(a *answerer, rc *receiver) *acks {
	x := &acks{answer: a, rc: rc, queue: make(chan pendingAck, pipeWindow), broken: make(chan struct{}), ended: make(chan struct{})}
	go x.run()
	return x
}

// add queues the answer to f; false if the stream is broken.
func (x *acks) add(f *wire.Frame, done <-chan error) bool {
	head := *f
	head.Body = nil
	select {
	case x.queue <- pendingAck{head, done}:
		return true
	case <-x.broken:
		return false
	}
}

func (x *acks) run() {
	defer close(x.ended)
	for p := range x.queue {
		err := <-p.done
		if err == nil && p.frame.Kind == wire.KindChunk {
			err = x.rc.passed(wire.TargetStored)
		}
		if err != nil {
			x.answer.m.log.Info("handoff refused", "transfer", x.rc.open.Session.ID, "partition", x.rc.p, "err", err)
			x.answer.fail(&p.frame, err)
		} else if err = x.answer.ok(&p.frame, nil); err == nil {
			_ = x.answer.st.SetDeadline(time.Now().Add(2 * pipeTimeout)) // the answer's own was shorter
			continue
		}
		close(x.broken)
		_ = x.answer.st.Close() // so that nobody reads on
		for p := range x.queue {
			<-p.done //nolint:errcheck // nobody is told any more
		}
		return
	}
}

// end waits until all that was queued is answered.
func (x *acks) end() {
	close(x.queue)
	<-x.ended
}

// settled is a result that is there already.
func settled(err error) <-chan error {
	done := make(chan error, 1)
	done <- err
	return done
}
