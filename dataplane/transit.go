package dataplane

import "time"

// longTransit is what no request takes that its sender still waits for, on a connection
// that works: it has given up the connection by then.
const longTransit = time.Second

// transit tells how long the requests of one connection were on their way, in the
// queues and buffers of both sides and on the wire. A process that is stopped, or a link
// that is cut, keeps them there for any length of time; whoever sent them has asked
// another node since, and a write that ran now would replace a newer one.
//
// The two ends' clocks have nothing in common, so what counts is by how much the time
// from departure to arrival exceeds the least that was seen on the connection. Clocks
// drift: that least time is taken to grow by a thousandth of the time since it was seen.
type transit struct {
	born  time.Time // when the first request came; zero before
	least uint32    // ms from departure to arrival, each on its own clock; wraps around
	seen  time.Time // when that was
}

// age is how long what was sent at sent, on the sender's clock, and has arrived now was
// delayed; 0 if the sender does not tell.
func (t *transit) age(now time.Time, sent uint32) time.Duration {
	if sent == 0 {
		return 0
	}
	if t.born.IsZero() {
		t.born, t.seen, t.least = now, now, -sent
		return 0
	}
	took := uint32(now.Sub(t.born).Milliseconds()) - sent
	late := time.Duration(int32(took-t.least))*time.Millisecond - now.Sub(t.seen)/1000
	if late <= 0 {
		t.least, t.seen = took, now
		return 0
	}
	return late
}

const (
	longLull  = 500 * time.Millisecond // shorter than any silence for which a sender gives a connection up (hungAfter)
	lullSlack = 20 * time.Millisecond  // what a request may be delayed by behind a lull without having waited for its end
)

// lull finds the requests of one connection that have waited until its receiver went on
// to read: the process was stopped, or the link cut. Their sender may have given the
// connection up meanwhile, also just after it sent the last of them, long before their
// deadline.
type lull struct {
	heard time.Time // when the last frame came
	over  time.Time // when the last lull was over
}

// outlasted reports whether a frame that has arrived now, delayed by age, set out before
// the lull was over that came before it.
func (l *lull) outlasted(now time.Time, age time.Duration) bool {
	if !l.heard.IsZero() && now.Sub(l.heard) >= longLull {
		l.over = now
	}
	l.heard = now
	return !l.over.IsZero() && now.Add(lullSlack-age).Before(l.over)
}
