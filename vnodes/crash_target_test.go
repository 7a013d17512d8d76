package vnodes

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// The target crashes while it stages: the transfer begins anew.
func TestTargetCrashesWhileStaging(t *testing.T) {
	for name, meant := range map[string]func(*passing) bool{
		"mid-fold": func(f *passing) bool { return f.n == 5 },
		"ready":    func(f *passing) bool { return f.ready() },
	} {
		t.Run(name, func(t *testing.T) {
			w, a, b := crashWorld(t)
			reached := w.stopAt(meant)
			s := w.begin(move(crashP, 0, 1, 2))
			<-reached
			b.crash()
			a.filled(crashP, crashRecords)
			b.start()
			w.committed(s)
			w.settled()
			b.filled(crashP, crashRecords)
		})
	}
}

// The target crashes between READY and its activation, and comes back before or
// after the commit, with metadata of before or after it.
func TestTargetCrashesReady(t *testing.T) {
	for name, c := range map[string]struct {
		commitFirst, old, forgotten bool
	}{
		"back before the commit":                      {},
		"back after the commit":                       {commitFirst: true},
		"back with old metadata":                      {commitFirst: true, old: true},
		"back when the session is remembered no more": {commitFirst: true, forgotten: true},
	} {
		t.Run(name, func(t *testing.T) {
			w, a, b := crashWorld(t)
			reached, goOn := make(chan struct{}), make(chan struct{})
			w.setFate(func(*simNode, Session) fate {
				close(reached)
				<-goOn
				return applied
			})
			s := w.begin(move(crashP, 0, 1, 2))
			<-reached
			w.setFate(nil)
			b.crash()
			before := w.state()
			if c.commitFirst {
				close(goOn)
				w.committed(s)
			}
			if c.forgotten {
				w.forget()
			}
			if c.old {
				b.startAt(before)
				b.view.Load().learn(w.state())
			} else {
				b.start()
			}
			if !c.commitFirst {
				b.mustRefuse(keyIn(crashP, 0), wire.Moved)
				close(goOn)
				w.committed(s)
			}
			w.settled()
			b.filled(crashP, crashRecords)
			a.mustRefuse(keyIn(crashP, 0), wire.Moved)
		})
	}
}

// The target crashes in the middle of its activation: with the file still staged
// and marked as the slot's, or renamed and the note still there.
func TestTargetCrashesInActivation(t *testing.T) {
	for _, renamed := range []bool{false, true} {
		t.Run(fmt.Sprint("renamed ", renamed), func(t *testing.T) {
			w, _, b := crashWorld(t)
			w.do(move(crashP, 0, 1, 2))
			b.crash()
			rewind(t, b, renamed)
			b.start()
			w.settled()
			b.filled(crashP, crashRecords)
		})
	}
}

// rewind takes the files of a node that has activated session s001 back to the
// middle of that.
func rewind(t *testing.T, n *simNode, renamed bool) {
	t.Helper()
	j, err := OpenJournal(filepath.Join(n.dir, "journal.bolt"))
	if err != nil {
		t.Fatal(err)
	}
	note := SessionNote{
		Session: Session{ID: "s001", Step: move(crashP, 0, 1, 2), Gen: 1}, State: noteReady,
		Digests: map[string]Digest{"kv": {Records: crashRecords}},
	}
	if err := j.PutSession(note); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if renamed {
		return
	}
	svc := &service{Service: Service{Name: "kv"}}
	if err := os.Rename(filepath.Join(n.dir, slotFile(svc, crashP)), filepath.Join(n.dir, stagingFile(svc, crashP, "s001"))); err != nil {
		t.Fatal(err)
	}
}

// The staged file has vanished: the slot does not become an empty one.
func TestStagedFileLost(t *testing.T) {
	w, _, b := crashWorld(t)
	w.do(move(crashP, 0, 1, 2))
	b.crash()
	rewind(t, b, false)
	if err := os.Remove(filepath.Join(b.dir, stagingFile(&service{Service: Service{Name: "kv"}}, crashP, "s001"))); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the next start knows it too
		b.start()
		b.mustRefuse(keyIn(crashP, 0), wire.Unavailable)
		b.crash()
	}
	if err := os.RemoveAll(b.dir); err != nil { // nothing for the world to find fault with
		t.Fatal(err)
	}
}

// A target that has activated its slot and served writes comes back with the
// metadata of before: as soon as it has the newer one again, it serves what it has.
func TestTargetCrashesAfterActivation(t *testing.T) {
	for _, records := range []int{0, crashRecords} {
		t.Run(fmt.Sprint("records ", records), func(t *testing.T) {
			w := newWorld(t, 2, 1, smallChunks)
			w.guardOwners()
			b := w.node(2)
			w.node(1).fill(crashP, records)
			before := w.state()
			w.do(move(crashP, 0, 1, 2))
			b.mustPut(keyIn(crashP, 1000), "written since")
			b.crash()
			b.startAt(before)
			w.settled()
			b.filled(crashP, records)
			b.mustGet(keyIn(crashP, 1000), "written since")
		})
	}
}

// A session was aborted while its ready target was down, and another one moved the
// partition to the same node: what the first one staged stays out.
func TestAbortedArrivalStaysOut(t *testing.T) {
	for _, forgotten := range []bool{false, true} {
		t.Run(fmt.Sprint("forgotten ", forgotten), func(t *testing.T) {
			w, a, b := crashWorld(t)
			asked := w.proposals(lostBefore)
			w.begin(move(crashP, 0, 1, 2))
			<-asked
			b.crash()
			w.abort("s001")
			w.setFate(nil)
			a.mustPut(keyIn(crashP, 0), "newer")
			s := w.begin(move(crashP, 0, 1, 2))
			if forgotten {
				w.forget()
			}
			b.start()
			w.until("moved", func() bool { return w.ring().Owner(crashP) == b.id })
			b.mustGet(keyIn(crashP, 0), "newer")
			b.crash() // with whatever notes are left
			if forgotten {
				w.forget()
			}
			b.start()
			w.settled()
			b.mustGet(keyIn(crashP, 0), "newer")
			_ = s
		})
	}
}
