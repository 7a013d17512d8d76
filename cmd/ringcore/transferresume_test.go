package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ringcore/ringcore/admin"
)

// moving is the one transfer that is under way at p; more than one are too many.
func moving(t *testing.T, p *process) (admin.TransferView, error) {
	t.Helper()
	var view admin.TransfersView
	if err := p.get("/v1/transfers", &view); err != nil {
		return admin.TransferView{}, err
	}
	var moves []admin.TransferView
	for _, x := range view.Active {
		if x.Kind == "move" {
			moves = append(moves, x)
		}
	}
	switch {
	case len(moves) > 1:
		t.Fatalf("one at a time, and %d are under way: %+v", len(moves), moves)
	case len(moves) == 0:
		return admin.TransferView{}, fmt.Errorf("nothing moves, %d wait", view.Waiting)
	}
	return moves[0], nil
}

// howEnded is how a session has ended, if it has.
func howEnded(p *process, session string) (admin.EndedView, error) {
	var view admin.TransfersView
	err := p.get("/v1/transfers", &view)
	for _, x := range view.Ended {
		if x.Session == session {
			return x, err
		}
	}
	return admin.EndedView{}, fmt.Errorf("session %s has not ended, %w", session, err)
}

// TestLimitedTransfersGoOn: transfers keep to the limits that are set while they run; one whose receiver, and
// one whose sender is killed in the middle go on where they were; limits that are taken away
// hold no more at once.
func TestLimitedTransfersGoOn(t *testing.T) {
	long(t)
	t.Parallel()
	const keys, size, rate = 128, 64 << 10, 512 << 10
	n1 := startProcess(t, "n1", "--replicas", "1", "--partitions", "8")
	value := func(k int) string { return strings.Repeat(fmt.Sprintf("%07d\n", k), size/8) }
	for k := range keys {
		put(t, n1, fmt.Sprint("key", k), value(k))
	}
	var limits admin.LimitsView
	if err := json.Unmarshal([]byte(n1.ok("transfers", "set", "--out", "1", "--rate-out", "512KiB", "-o", "json")), &limits); err != nil || limits.Out != 1 || limits.BytesOut != rate {
		t.Fatalf("limits: %+v, %v", limits, err)
	}
	n2 := startProcess(t, "n2", "--join", n1.addr)
	// halfway waits for another session than not, of which a good part is sent and a good part is not.
	halfway := func(not string) admin.TransferView {
		var x admin.TransferView
		until(t, "a transfer is under way", func() (err error) {
			if x, err = moving(t, n1); err == nil && (x.Session == not || x.Phase != "fold" || x.Percent < 40 || x.Percent > 80) {
				err = fmt.Errorf("%+v", x)
			}
			return err
		})
		return x
	}

	first := halfway("")
	n2.kill()
	n2.start(n2.places()...)
	n2.awaitReady()
	until(t, "it has gone on", func() error {
		if x, err := moving(t, n1); err == nil && x.Session == first.Session && x.Records < first.Records {
			t.Fatalf("it was at %+v, and has begun anew: %+v\n%s\n%s", first, x, n1.said(), n2.said())
		}
		_, err := howEnded(n1, first.Session)
		return err
	})
	if x, err := howEnded(n1, first.Session); err != nil || x.Outcome != "committed" || x.Seconds < 0.7*float64(x.Bytes)/rate {
		t.Errorf("its receiver was killed: %+v, %v", x, err)
	}

	second := halfway(first.Session)
	n1.kill()
	n1.start(n1.places()...)
	n1.awaitReady()
	var x admin.EndedView
	until(t, "it has gone on", func() (err error) { x, err = howEnded(n1, second.Session); return err })
	if all := second.Records * 100 / int64(second.Percent); x.Outcome != "committed" || x.Records > all*3/4 {
		t.Errorf("its sender was killed: %+v, of %d records", x, all)
	}
	if !strings.Contains(n1.said(), "transfer goes on where an earlier life of this node was") {
		t.Error("n1 does not say that it goes on")
	}

	n1.ok("transfers", "set", "--reset")
	settle(t, n1, n2)
	for k := range keys {
		status, body, err := kvRequest(n2, http.MethodGet, fmt.Sprint("key", k), "")
		if err != nil || status != http.StatusOK || body != value(k) {
			t.Fatalf("key %d: %d, %d bytes, %v", k, status, len(body), err)
		}
	}
}
