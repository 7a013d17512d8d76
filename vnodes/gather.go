package vnodes

import "time"

// A sync costs about the same for one entry as for a hundred, and so does waking all
// those whose entries it brings. So when many entries come the writer lets some gather
// before it begins: for about as long as a sync takes, which makes an entry wait half as
// long again at most, and syncs half as many. When few come it begins at once: a lone
// caller would wait for nobody.
const (
	gatherLeast  = 2                      // entries that must be likely to come, or the writer does not wait
	gatherMost   = 400 * time.Microsecond // the longest wait
	gatherMemory = 5 * time.Millisecond   // for how long what was seen lately counts
)

// gathering is what the writer has seen of its entries lately. The writer alone uses it.
type gathering struct {
	rate  float64       // entries per second
	sync  time.Duration // that a write and sync take
	taken time.Time     // when entries were taken last
}

// wait is how long to let entries gather.
func (g *gathering) wait() time.Duration {
	d := min(g.sync, gatherMost)
	if g.rate*d.Seconds() < gatherLeast {
		return 0
	}
	return d
}

// took notes that n entries were taken at now.
func (g *gathering) took(n int, now time.Time) {
	since := now.Sub(g.taken)
	g.taken = now
	weight := since.Seconds() / (since + gatherMemory).Seconds()
	g.rate += weight * (float64(n)/max(since.Seconds(), 1e-6) - g.rate)
}

// synced notes that a write and sync have taken d.
func (g *gathering) synced(d time.Duration) { g.sync += (d - g.sync) / 8 }
