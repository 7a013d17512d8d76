package vnodes

import "sync/atomic"

// newestTx is the newest transaction that was seen in an open database. A meta
// page that is damaged while the database is open makes bbolt fall back to the
// other one, and so to what the file held before: that must not be served.
type newestTx struct{ id atomic.Int64 }

// seen is to be asked before a transaction begins.
func (n *newestTx) seen() int64 { return n.id.Load() }

// check reports, wrapping ErrCorrupt, a database whose newest transaction is id
// although a newer one was seen before.
func (n *newestTx) check(id int, seen int64) error {
	if int64(id) < seen {
		return corruptBolt("a meta page is damaged: transaction %d came after %d", id, seen)
	}
	n.raise(int64(id))
	return nil
}

// raise notes that id was seen.
func (n *newestTx) raise(id int64) {
	for {
		have := n.id.Load()
		if id <= have || n.id.CompareAndSwap(have, id) {
			return
		}
	}
}
