package dataplane

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/metadata/ring"
)

// What a node asks of peers of which nobody wants anything does not grow with their number,
// and one that hangs is noticed all the same.
func TestIdlePeersAreAskedInTurns(t *testing.T) {
	for peers, noticed := range map[int]time.Duration{4: time.Second, 60: 8 * time.Second} {
		t.Run(fmt.Sprint(peers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ids []ring.NodeID
				cables := map[string]*cable{}
				for i := range peers {
					id := ring.NodeID(fmt.Sprintf("b%02d", i))
					ids = append(ids, id)
					s := NewServer(ServerConfig{Identity: identity(id), Requests: echo, Clocks: NewClocks(nil), Member: func(ring.NodeID) bool { return true }})
					t.Cleanup(func() { _ = s.Close() })
					cables[string(id)] = cableTo(t, s)
				}
				live := NewLiveness("a")
				p := NewPeers(PeersConfig{
					Identity: identity("a"), Liveness: live, Clocks: NewClocks(nil), Members: func() []ring.NodeID { return ids },
					Logger:  slog.New(slog.DiscardHandler),
					Resolve: func(id ring.NodeID) (string, bool) { return string(id), true },
					Connect: func(ctx context.Context, addr string) (net.Conn, error) { return cables[addr].connect(ctx, addr) },
				})
				t.Cleanup(func() { _ = p.Close() })
				for _, id := range ids {
					waitUp(t, live, id, true)
				}
				said := func() (n int) {
					for _, c := range cables {
						n += c.writes()
					}
					return n
				}
				time.Sleep(5 * time.Second)
				before := said()
				const span = 10 * time.Second
				time.Sleep(span)
				perSecond := float64(said()-before) / span.Seconds()
				if most := float64(idlePings)/tendEvery.Seconds() + clocksAsked/clockEvery.Seconds(); perSecond > most || perSecond < 4 {
					t.Errorf("%.0f questions a second to %d peers, at most %.0f are right", perSecond, peers, most)
				}
				begun := time.Now()
				hung := cables["b03"]
				hung.set(func() { hung.cut = [2]bool{true, true} })
				waitUp(t, live, "b03", false)
				if took := time.Since(begun); took > noticed {
					t.Errorf("a peer of %d that hangs is noticed after %v", peers, took)
				}
				hung.set(func() { hung.cut = [2]bool{} })
			})
		})
	}
}
