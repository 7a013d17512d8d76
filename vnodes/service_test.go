package vnodes

import (
	"strings"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// plain has nothing but Command.
type plain struct{}

func (plain) Command(*Tx, []byte) ([]byte, error) { return nil, nil }

// fickle panics when it is asked anything.
type fickle struct{ simVnode }

func (*fickle) Blind([]byte) bool                        { panic("as told") }
func (*fickle) Resolve([]byte, [][]byte) ([]byte, error) { panic("as told") }

// openWith opens a node with services and returns the error.
func openWith(t *testing.T, services ...Service) error {
	t.Helper()
	w := newWorld(t, 1, 3)
	n := w.node(1)
	n.stop()
	v := &view{n: n, st: w.state(), changed: make(chan struct{}), gone: make(chan struct{})}
	m, err := Open(Config{
		ClusterID: "sim", Node: n.id, Memory: true, Services: services,
		Rings: v, Transfers: v, Dialer: v, Up: func(ring.NodeID) bool { return true }, Logger: n.log.logger(),
	})
	if err == nil {
		err = m.Close()
	}
	return err
}

// What may be registered, and what the error says otherwise.
func TestRegister(t *testing.T) {
	newPlain := func(ring.Partition) Vnode { return plain{} }
	sim := func(name string) Service { return simService(name, 1) }
	for name, c := range map[string]struct {
		services []Service
		want     string // part of the error; empty for none
	}{
		"good names":       {[]Service{sim("kv"), sim("a"), sim("a-b_c9"), sim(strings.Repeat("x", 63))}, ""},
		"no name":          {[]Service{sim("")}, "a name is 1 to 63"},
		"long name":        {[]Service{sim(strings.Repeat("x", 64))}, "a name is 1 to 63"},
		"upper case":       {[]Service{sim("Kv")}, "a name is 1 to 63"},
		"digit first":      {[]Service{sim("9kv")}, "a name is 1 to 63"},
		"path":             {[]Service{sim("../kv")}, "a name is 1 to 63"},
		"twice":            {[]Service{sim("kv"), sim("kv")}, "choose another name"},
		"no New":           {[]Service{{Name: "kv", N: 1}}, "New is missing"},
		"negative n":       {[]Service{simService("kv", -1)}, "must be 0 to 7"},
		"large n":          {[]Service{simService("kv", 8)}, "must be 0 to 7"},
		"reads with n=1":   {[]Service{{Name: "kv", N: 1, New: newPlain}}, ""},
		"reads with n=3":   {[]Service{{Name: "kv", N: 3, New: newPlain}}, "BlindCommander"},
		"reads by default": {[]Service{{Name: "kv", New: newPlain}}, "with 3 replicas"},
	} {
		err := openWith(t, c.services...)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q in it", name, err, c.want)
		}
	}
}

// What routing is told of a service, and that its questions may panic.
func TestServiceInfo(t *testing.T) {
	w := newWorld(t, 1, 3, func(n *simNode) {
		n.services = []Service{
			simService("kv", 0),
			{Name: "one", N: 1, New: func(ring.Partition) Vnode { return plain{} }},
			{Name: "fickle", New: func(ring.Partition) Vnode { return &fickle{} }},
		}
	})
	m := w.node(1).m.Load()
	info, ok := m.Service(wire.ServiceID("kv"))
	if !ok || info.Name != "kv" || info.N != 3 || info.Resolves || !info.Blind([]byte("put x")) || info.Blind([]byte("append x")) {
		t.Errorf("%+v, %v", info, ok)
	}
	if info, ok := m.Service(wire.ServiceID("one")); !ok || info.N != 1 || info.Blind(nil) {
		t.Errorf("%+v, %v", info, ok)
	}
	if _, ok := m.Service(wire.ServiceID("other")); ok {
		t.Error("an unknown service is known")
	}
	info, _ = m.Service(wire.ServiceID("fickle"))
	if !info.Resolves || info.Blind(nil) {
		t.Errorf("a command that makes Blind panic is blind: %+v", info)
	}
	if _, err := m.Resolve(wire.ServiceID("fickle"), 0, nil, [][]byte{nil}); asError(err).Code != wire.Internal {
		t.Errorf("a panic in Resolve: %v", err)
	}
	if b, err := m.Resolve(wire.ServiceID("kv"), 0, nil, [][]byte{[]byte("x")}); string(b) != "x" || err != nil {
		t.Errorf("without Resolve: %q, %v", b, err)
	}
	if _, err := m.Resolve(wire.ServiceID("other"), 0, nil, nil); asError(err).Code != wire.BadRequest {
		t.Errorf("of an unknown service: %v", err)
	}
}

// Two services have partitions of their own: one that is stuck keeps nobody else waiting.
func TestServicesApart(t *testing.T) {
	goOn := make(chan struct{})
	w := newWorld(t, 1, 1, func(n *simNode) {
		n.services = []Service{simService("kv", 0), {Name: "stuck", New: func(ring.Partition) Vnode { return &blocker{goOn: goOn} }}}
	})
	n := w.node(1)
	stuck, _ := n.send(request(wire.OpCommand, w.ring(), "stuck", "a", "wait"))
	n.mustPut("a", "1")
	n.mustGet("a", "1")
	close(goOn)
	if got := <-stuck; got.code != wire.OK {
		t.Error(got)
	}
}
