package dataplane

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// BenchmarkEcho has many callers share the one connection to a peer; both ends
// are in this process.
func BenchmarkEcho(b *testing.B) {
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			n := serveTCP(b, "127.0.0.1:0", ServerConfig{Identity: identity("b"), Requests: echo})
			p := dialPeers(b, PeersConfig{}, n)
			body := make([]byte, 100)
			b.ReportAllocs()
			b.ResetTimer()
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := p.Call(b.Context(), "b", wire.Header{Op: wire.OpCommand}, body); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}
