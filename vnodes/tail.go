package vnodes

import (
	"maps"
	"sync"
)

// tail notes the keys that change while a transfer runs. It holds each key once,
// so it is never larger than the vnode's keys.
type tail struct {
	mu   sync.Mutex
	keys map[string]struct{}
}

func (t *tail) note(writes []Write) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range writes {
		t.keys[string(writes[i].Key)] = struct{}{}
	}
}

// take empties the tail and returns what was in it.
func (t *tail) take() map[string]struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys := t.keys
	t.keys = make(map[string]struct{})
	return keys
}

// give puts keys back that were taken in vain.
func (t *tail) give(keys map[string]struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.Copy(t.keys, keys)
}

// append is the only way in which a vnode's state changes. The tails come last: a
// transfer that begins in between finds the writes among what it waits for to be
// durable. Worker only.
func (v *vnode) append(writes []Write, done func(error)) {
	if len(v.moments) > 0 {
		v.keepMoments(writes)
	}
	v.store.Append(writes, done)
	v.tailMu.Lock()
	defer v.tailMu.Unlock()
	for t := range v.tails {
		t.note(writes)
	}
}

// follow starts a tail: it notes every key that is appended from now on.
func (v *vnode) follow() *tail {
	t := &tail{keys: make(map[string]struct{})}
	v.tailMu.Lock()
	v.tails[t] = struct{}{}
	v.tailMu.Unlock()
	return t
}

func (v *vnode) unfollow(t *tail) {
	v.tailMu.Lock()
	delete(v.tails, t)
	v.tailMu.Unlock()
}
