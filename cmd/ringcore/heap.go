package main

import (
	"runtime"
	"runtime/debug"
	gometrics "runtime/metrics"
	"sync"
)

// heapRoom is how many bytes a node may allocate between two garbage collections, or as
// many as its heap holds if that is more. Most of what a node keeps lies outside its heap,
// which holds some ten million bytes: Go, left alone, collects each time that it has
// doubled, eight times a second under load, and that took a seventh of a node's CPU.
const heapRoom = 64 << 20

// leastHeap is what Go takes a heap for that is smaller.
const leastHeap = 4 << 20

// roomyHeap is told of the end of each garbage collection, and says when the next is due.
type roomyHeap struct {
	was int // percent, before

	mu      sync.Mutex
	percent int
	over    bool
}

// collection is what each garbage collection finds unused.
type collection struct{ _ [64]byte }

// giveHeapRoom begins to keep heapRoom, unless who started this process has decided
// otherwise. The heap is the process's: one node has it to itself.
func giveHeapRoom(getenv func(string) string) (end func()) {
	if getenv("GOGC") != "" || getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	h := &roomyHeap{was: debug.SetGCPercent(100), percent: 100}
	h.collected()
	return h.end
}

func (h *roomyHeap) collected() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return
	}
	live := []gometrics.Sample{{Name: "/gc/heap/live:bytes"}}
	gometrics.Read(live)
	percent := max(100, int(100*heapRoom/max(live[0].Value.Uint64(), leastHeap)))
	if 8*max(percent-h.percent, h.percent-percent) > h.percent { // else it is not worth stopping all for
		h.percent = percent
		debug.SetGCPercent(percent)
	}
	runtime.AddCleanup(&collection{}, (*roomyHeap).collected, h)
}

func (h *roomyHeap) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	debug.SetGCPercent(h.was)
}
