package history

import (
	"slices"
	"time"
)

// Listing is a listing of keys that is under way. One goroutine at a time uses it.
type Listing struct {
	history *History
	client  int
	start   time.Duration
	seen    map[string]bool
}

// List notes that a listing is about to begin.
func (h *History) List(client int) *Listing {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := &Listing{history: h, client: client, start: h.now(), seen: map[string]bool{}}
	h.listings = append(h.listings, l)
	return l
}

// floor is when the first of the listings that are under way began. A listing that
// begins afterwards has a later start than what has ended already.
func (h *History) floor() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	floor := forever
	for _, l := range h.listings {
		floor = min(floor, l.start)
	}
	return floor
}

// Key notes a key that was listed. Keys that were never written are none of the
// history's business.
func (l *Listing) Key(key string) {
	if _, ok := l.history.keys.Load(key); !ok {
		return
	}
	if l.seen[key] {
		l.note(l.wrong(Duplicate, key, nil))
	}
	l.seen[key] = true
}

// End checks the listing; complete says whether it called itself so.
func (l *Listing) End(complete bool) {
	h := l.history
	h.keys.Range(func(k, r any) bool {
		key := k.(string)
		if l.seen[key] || complete {
			l.note(l.check(key, r.(*register)))
		}
		return true
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.report.Listings++
	h.listings = slices.DeleteFunc(h.listings, func(x *Listing) bool { return x == l })
}

// check is what is wrong with what the listing says of a key.
func (l *Listing) check(key string, r *register) *Violation {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.seen[key] {
		if by := r.present(l.start); by != nil {
			if by.end == never {
				return l.wrong(Phantom, key, by)
			}
			return l.wrong(Resurrected, key, by)
		}
		return nil
	}
	o := Op{Client: l.client, Key: key, Kind: Get, Start: l.start, End: l.history.now()}
	if v := r.read(&o, false); v != nil {
		v.Fault = Missing
		return v
	}
	return nil
}

func (l *Listing) wrong(f Fault, key string, by *write) *Violation {
	v := violation(f, &Op{Client: l.client, Key: key, Kind: Get, Start: l.start, End: l.history.now()})
	if by != nil {
		v.add(by)
	}
	return v
}

func (l *Listing) note(v *Violation) {
	l.history.mu.Lock()
	defer l.history.mu.Unlock()
	l.history.report.note(v)
}
