package admin

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Bounds of what a LogTail keeps.
const (
	tailEntries  = 1000
	tailText     = 4 << 10 // bytes of one attribute's value, or a message: the rest is cut off
	tailAttrs    = 32      // of one entry
	tailLag      = 256     // entries that a reader may be behind
	cutOff       = "…"
	tailMinLevel = slog.LevelInfo
)

// LogEntry is one line of a node's log.
type LogEntry struct {
	Seq     uint64    `json:"seq"` // counts from 1 since the node's start
	Time    time.Time `json:"time"`
	Level   string    `json:"level"` // DEBUG, INFO, WARN or ERROR
	Message string    `json:"message"`
	Attrs   []LogAttr `json:"attrs"` // in the order in which they were given
}

// LogAttr is one attribute of a LogEntry.
type LogAttr struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// LogTail keeps the latest entries of a log for those who look at it from afar. It starts
// no goroutine that outlives its reader's context.
type LogTail struct {
	mu   sync.Mutex // held to add an entry or a reader, never while anything is written
	ring []LogEntry // the latest; entry Seq is at (Seq - 1) % tailEntries
	last uint64     // Seq of the newest; 0 before the first
	subs map[chan LogEntry]struct{}
}

// Handler passes everything on to next, and keeps what is of level Info or above, or
// what next takes.
func (t *LogTail) Handler(next slog.Handler) slog.Handler { return &tailHandler{tail: t, next: next} }

// Follow returns the entries after since that are still kept, and a channel of those that
// follow. The channel is closed when ctx ends, or when its reader lags.
func (t *LogTail) Follow(ctx context.Context, since uint64) ([]LogEntry, <-chan LogEntry) {
	ch := make(chan LogEntry, tailLag)
	t.mu.Lock()
	defer t.mu.Unlock()
	var kept []LogEntry
	if since > t.last {
		since = 0 // of an earlier life of the node
	}
	first := max(since, t.last-uint64(len(t.ring))) + 1
	for seq := first; seq <= t.last; seq++ {
		kept = append(kept, t.ring[(seq-1)%tailEntries])
	}
	if t.subs == nil {
		t.subs = make(map[chan LogEntry]struct{})
	}
	t.subs[ch] = struct{}{}
	context.AfterFunc(ctx, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.drop(ch)
	})
	return kept, ch
}

// drop closes ch if it is still there. The caller holds mu.
func (t *LogTail) drop(ch chan LogEntry) {
	if _, ok := t.subs[ch]; ok {
		delete(t.subs, ch)
		close(ch)
	}
}

func (t *LogTail) add(e LogEntry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	e.Seq = t.last
	if len(t.ring) < tailEntries {
		t.ring = append(t.ring, e)
	} else {
		t.ring[(e.Seq-1)%tailEntries] = e
	}
	for ch := range t.subs {
		select {
		case ch <- e:
		default:
			t.drop(ch)
		}
	}
}

// tailHandler is one logger's way into a LogTail.
type tailHandler struct {
	tail  *LogTail
	next  slog.Handler
	attrs []LogAttr
	group string // the prefix of attributes' keys
}

// Enabled implements slog.Handler.
func (h *tailHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= tailMinLevel || h.next.Enabled(ctx, l)
}

// Handle implements slog.Handler.
func (h *tailHandler) Handle(ctx context.Context, r slog.Record) error {
	e := LogEntry{Time: r.Time, Level: r.Level.String(), Message: cut(r.Message), Attrs: slices.Clone(h.attrs)}
	r.Attrs(func(a slog.Attr) bool {
		e.Attrs = appendAttr(e.Attrs, h.group, a)
		return true
	})
	h.tail.add(e)
	if !h.next.Enabled(ctx, r.Level) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *tailHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	to := &tailHandler{h.tail, h.next.WithAttrs(attrs), slices.Clone(h.attrs), h.group}
	for _, a := range attrs {
		to.attrs = appendAttr(to.attrs, h.group, a)
	}
	return to
}

// WithGroup implements slog.Handler.
func (h *tailHandler) WithGroup(name string) slog.Handler {
	group := h.group
	if name != "" {
		group += name + "."
	}
	return &tailHandler{h.tail, h.next.WithGroup(name), h.attrs, group}
}

// appendAttr adds a, and what is in it if it is a group.
func appendAttr(to []LogAttr, group string, a slog.Attr) []LogAttr {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			group += a.Key + "."
		}
		for _, x := range v.Group() {
			to = appendAttr(to, group, x)
		}
		return to
	}
	if len(to) >= tailAttrs || a.Equal(slog.Attr{}) {
		return to
	}
	return append(to, LogAttr{group + a.Key, cut(v.String())})
}

func cut(s string) string {
	if len(s) <= tailText {
		return s
	}
	return s[:tailText] + cutOff
}
