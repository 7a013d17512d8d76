package dataplane

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// command runs a command on key "k" at a node.
func (c *fakeCluster) command(at ring.NodeID, body string, change ...func(*wire.Call)) (string, error) {
	call := wire.Call{Bucket: "b", Key: []byte("k"), Body: []byte(body)}
	for _, f := range change {
		f(&call)
	}
	reply, err := c.nodes[at].router.Command(c.t.Context(), testService, call)
	return string(reply), err
}

// query reads key "k" at a node, and returns its value.
func (c *fakeCluster) query(at ring.NodeID, change ...func(*wire.Call)) (string, error) {
	call := wire.Call{Bucket: "b", Key: []byte("k"), Body: []byte("get")}
	for _, f := range change {
		f(&call)
	}
	reply, err := c.nodes[at].router.Query(c.t.Context(), testService, call)
	if err != nil {
		return "", err
	}
	it, _, err := wire.CutItem(reply)
	return string(it.Value), err
}

func want(q wire.Quorum) func(*wire.Call)        { return func(c *wire.Call) { c.Quorum = q } }
func wantPrimary(q wire.Quorum) func(*wire.Call) { return func(c *wire.Call) { c.Primary = q } }
func flagged(f wire.CallFlags) func(*wire.Call)  { return func(c *wire.Call) { c.Flags = f } }
func reply(code wire.Code, epoch uint64, body []byte) wire.Frame {
	return wire.Frame{Header: wire.Header{Code: code, Epoch: epoch}, Body: body}
}

func wantOK(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, code wire.Code, text string) {
	t.Helper()
	if !errors.Is(err, &wire.Error{Code: code}) || !strings.Contains(err.Error(), text) {
		t.Fatalf("error is %v, want %v with %q", err, code, text)
	}
}

func abc(list ...string) *ring.Ring { return listRing(10, 5, list...) }

func TestOneReplicaCommandAndQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 1, abc("a"), "a", "b")
		for _, at := range []ring.NodeID{"a", "b"} {
			got, err := c.command(at, "put from "+string(at))
			wantOK(t, err)
			if got != "done by a" {
				t.Errorf("at %s: reply %q", at, got)
			}
			v, err := c.query(at)
			wantOK(t, err)
			if v != "from "+string(at) {
				t.Errorf("at %s: read %q", at, v)
			}
		}
		_, err := c.command("b", "dance")
		wantCode(t, err, wire.NotFound, "no such command")
	})
}

func TestUnknownServiceAndOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 1, abc("a"), "a")
		_, err := c.nodes["a"].router.Command(t.Context(), "else", wire.Call{})
		wantCode(t, err, wire.BadRequest, "no such service")
		r := c.nodes["a"].router
		for _, in := range []inbound{
			{Header: wire.Header{Op: wire.OpCommand}, body: []byte{0xff}, from: "b"},
			{Header: wire.Header{Op: wire.OpEffect}},
			{Header: wire.Header{Op: wire.OpRead}, from: "b", body: []byte{1}},
			{Header: wire.Header{Op: wire.OpEffect, Partition: 8}, from: "b"},
			{Header: wire.Header{Op: wire.OpEffect, Flags: wire.FlagFallback}, from: "b", body: []byte{9, 'a'}},
			{Header: wire.Header{Op: wire.OpPing}, from: "b"},
		} {
			code := wire.OK
			in.reply = func(c wire.Code, _ uint64, _ []byte) { code = c }
			r.serve(in)
			if code != wire.BadRequest {
				t.Errorf("%+v answered %v", in.Header, code)
			}
		}
	})
}

// A node of a newer ring is asked, the caller's node learns of it and asks the right one.
func TestMovedThenNewRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 1, abc("a"), "a", "b", "x")
		c.learn(listRing(11, 6, "b"), "a", "b") // x still believes in a
		got, err := c.command("x", "add")
		wantOK(t, err)
		if got != "done by b" || c.nodes["x"].fetches.Load() != 1 {
			t.Fatalf("%q after %d fetches", got, c.nodes["x"].fetches.Load())
		}
	})
}

// The owner of a switch holds on for longer than any fixed number of tries.
func TestMovedWithoutNewRingWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 1, abc("a"), "a", "b")
		c.nodes["a"].local.gate = func(r *wire.Request) wire.Code { return wire.Moved }
		go func() {
			time.Sleep(2 * time.Second)
			c.learn(listRing(11, 6, "b"), "a", "b")
		}()
		begun := time.Now()
		got, err := c.command("a", "add")
		wantOK(t, err)
		if took := time.Since(begun); got != "done by b" || took < 2*time.Second || took > 2300*time.Millisecond {
			t.Fatalf("%q after %v", got, took)
		}
	})
}

func TestMovedForEverEndsAsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 1, abc("a"), "a", "b")
		c.nodes["a"].local.gate = func(r *wire.Request) wire.Code { return wire.Moved }
		begun := time.Now()
		_, err := c.command("b", "add")
		wantCode(t, err, wire.Unavailable, "")
		if took := time.Since(begun); took > defaultTimeout || took < defaultTimeout*9/10 {
			t.Fatalf("after %v", took)
		}
	})
}

// A deadline that has passed already is no word about replicas.
func TestDeadlineBeforeAnybodyWasAsked(t *testing.T) {
	c := newFakeCluster(t, 1, abc("a"), "a", "b")
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for i := range 40 { // whichever of the two ends is looked at first
		at := ring.NodeID("ab"[i%2 : i%2+1])
		_, err := c.nodes[at].router.Command(ctx, testService, wire.Call{Bucket: "b", Key: []byte("k"), Body: []byte("add")})
		wantCode(t, err, wire.Deadline, "before")
	}
}

// A request that may not hop and reaches a node without the slot is answered Moved,
// unless that node's own ring is the old one.
func TestNoHop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 1, abc("a"), "a", "b")
		ask := func(epoch uint64) wire.Code {
			code := make(chan wire.Code, 1)
			call := wire.Call{Bucket: "b", Key: []byte("k"), Body: []byte("put 1")}
			c.nodes["b"].router.serve(inbound{
				Header: wire.Header{Op: wire.OpCommand, Flags: wire.FlagNoHop, Service: wire.ServiceID(testService), Epoch: epoch},
				body:   wire.AppendCall(nil, &call), from: "a",
				reply: func(c wire.Code, _ uint64, _ []byte) { code <- c },
			})
			return <-code
		}
		if got := ask(10); got != wire.Moved {
			t.Errorf("equal rings: %v", got)
		}
		if got := ask(11); got != wire.Behind {
			t.Errorf("unknown ring: %v", got)
		}
		c.learn(listRing(11, 6, "b"))
		if got := ask(11); got != wire.OK {
			t.Errorf("newer ring: %v", got)
		}
		c.learn(listRing(12, 7, "a", "b*"), "b")
		c.info.N = 2
		if got := ask(12); got != wire.NotReadable {
			t.Errorf("catching up: %v", got)
		}
	})
}

func TestForwardTriesNextReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c", "x")
		c.meddle = func(from, to ring.NodeID, h wire.Header, _ []byte) (wire.Frame, error, bool) {
			if h.Op == wire.OpCommand && to != "c" {
				return wire.Frame{}, wire.Errorf(wire.Unavailable, "broken"), true
			}
			return wire.Frame{}, nil, false
		}
		for range 3 {
			got, err := c.command("x", "add")
			wantOK(t, err)
			if got != "done by c" {
				t.Fatal(got)
			}
		}
	})
}

// A coordinator that is cut off from the other replicas is not the last word for
// what may run twice.
func TestForwardGoesRoundACutCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c", "x")
		cut := map[ring.NodeID]bool{"a": true}
		c.meddle = func(_, to ring.NodeID, h wire.Header, _ []byte) (wire.Frame, error, bool) {
			if (h.Op == wire.OpCommand || h.Op == wire.OpQuery) && cut[to] {
				return reply(wire.QuorumNotMet, 0, []byte("reached 1 of 2")), nil, true
			}
			return wire.Frame{}, nil, false
		}
		refused := 0
		for range 6 { // replicas take turns
			_, err := c.command("x", "put 1")
			wantOK(t, err)
			_, err = c.query("x")
			wantOK(t, err)
			if _, err := c.command("x", "add"); err != nil {
				wantCode(t, err, wire.QuorumNotMet, "reached 1 of 2")
				refused++
			}
		}
		if refused == 0 {
			t.Error("a command that may not run twice was tried again")
		}
		cut["b"], cut["c"] = true, true
		begun := time.Now()
		_, err := c.command("x", "put 1")
		wantCode(t, err, wire.QuorumNotMet, "reached 1 of 2")
		_, err = c.query("x")
		wantCode(t, err, wire.QuorumNotMet, "reached 1 of 2")
		if took := time.Since(begun); took > patience {
			t.Errorf("told after %v", took)
		}
	})
}

// What may have run is not run again, unless it is blind: then under the same id.
func TestMaybe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c", "x")
		var ids []uint64
		c.meddle = func(from, to ring.NodeID, h wire.Header, body []byte) (wire.Frame, error, bool) {
			if h.Op != wire.OpCommand {
				return wire.Frame{}, nil, false
			}
			call, err := wire.ParseCall(body)
			if err != nil {
				t.Error(err)
			}
			ids = append(ids, call.ID)
			return wire.Frame{}, wire.Errorf(wire.Maybe, "connection broke"), len(ids) < 3
		}
		_, err := c.command("x", "add")
		wantCode(t, err, wire.Maybe, "connection broke")
		if len(ids) != 1 {
			t.Fatalf("a reading command was sent %d times", len(ids))
		}
		ids = nil
		_, err = c.command("x", "put 1")
		wantOK(t, err)
		if len(ids) != 3 || ids[0] == 0 || ids[0] != ids[1] || ids[1] != ids[2] {
			t.Fatalf("ids %v", ids)
		}
	})
}

// A node that hangs costs a blind command and a query part of their time, not all.
func TestHungCoordinatorIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c", "x")
		c.meddle = func(from, to ring.NodeID, h wire.Header, body []byte) (wire.Frame, error, bool) {
			if to == "a" && (h.Op == wire.OpCommand || h.Op == wire.OpQuery) {
				time.Sleep(time.Minute)
			}
			return wire.Frame{}, nil, false
		}
		for range 3 {
			_, err := c.command("x", "put 1")
			wantOK(t, err)
			_, err = c.query("x")
			wantOK(t, err)
		}
		time.Sleep(2 * time.Minute)
	})
}

func TestCloseAnswersWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 1, abc("a"), "a")
		c.nodes["a"].local.gate = func(r *wire.Request) wire.Code { return wire.Moved }
		go func() {
			time.Sleep(time.Second)
			c.nodes["a"].router.Close()
		}()
		_, err := c.command("a", "add")
		wantCode(t, err, wire.ShuttingDown, "")
	})
}
