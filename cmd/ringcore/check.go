package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/client"
	"github.com/ringcore/ringcore/client/history"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// verdict is what bench --check has found, and its JSON.
type verdict struct {
	Verdict    string            `json:"verdict"` // ok, violated, or unknown: something could not be read in the end
	Gets       uint64            `json:"gets"`
	Puts       uint64            `json:"puts"`
	Deletes    uint64            `json:"deletes"`
	Maybe      uint64            `json:"maybe"` // writes that may have taken effect
	Keys       int               `json:"keys"`
	Unread     int               `json:"unread"` // keys that could not be read in the end
	Listed     bool              `json:"listed"` // there was a complete list of the keys in the end
	Errors     map[string]uint64 `json:"errors"` // by code
	LastErrors map[string]string `json:"last_errors,omitempty"`
	Failed     []failedKey       `json:"failed,omitempty"` // the keys that these errors were for
	Faults     map[string]uint64 `json:"faults"`
	Violations []violation       `json:"violations"` // the first hundred
	Longest    float64           `json:"longest_ms"` // of all operations, also those that failed
	Slowest    string            `json:"slowest"`    // that operation
	Pause      float64           `json:"pause_ms"`   // for which this process itself stood still
}

// failedKey is a key of which some operations ended in errors.
type failedKey struct {
	Kind   string `json:"kind"` // get, put or delete
	Key    string `json:"key"`
	Errors uint64 `json:"errors"`
	Last   string `json:"last"`
}

// violation is one wrong answer, and the operations that show it.
type violation struct {
	Fault      string   `json:"fault"`
	Key        string   `json:"key"`
	Operations []string `json:"operations"`
}

// benchChecked is bench with --check.
func (a *app) benchChecked(ctx context.Context, c *client.Client, f *benchFlags, r, w wire.Quorum) error {
	wit := &witness{
		client: c, bucket: f.bucket, prefix: "check-" + rand.Text()[:10] + "-", r: r, w: w,
		history: history.New(), errors: map[string]uint64{}, last: map[string]string{}, failed: map[failedAs]*failedKey{},
	}
	f.load.Target = wit.target()
	stop := watchPauses()
	runs, err := a.benchRuns(ctx, f)
	pause := stop()
	if err != nil && ctx.Err() == nil {
		return err
	}
	// An interrupt ends the load, and what it has shown until then is told; a second one
	// ends the process.
	v := wit.verdict(context.WithoutCancel(ctx), pause, a.timeout, a.note)
	if f.json || a.json() {
		err = a.printJSON(benchResult{Workload: f.workload(), Runs: runs, Check: v})
	} else {
		err = errors.Join(a.printRuns(runs), a.printVerdict(v))
	}
	if err == nil && v.Verdict != "ok" {
		return &failure{code: exitFailed, err: fmt.Errorf("check: %s", v.summary())}
	}
	return err
}

// verdict reads and lists every key, and says what was found. What cannot be read
// is tried again until timeout is over: the cluster may be recovering.
func (w *witness) verdict(ctx context.Context, pause, timeout time.Duration, note func(string, ...any)) *verdict {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	w.mu.Lock()
	v := &verdict{
		Longest: ms(w.longest), Pause: ms(pause), Errors: maps.Clone(w.errors), LastErrors: maps.Clone(w.last),
		Slowest: w.slowest.String(), Faults: map[string]uint64{}, Violations: []violation{},
	}
	for _, k := range w.failed {
		v.Failed = append(v.Failed, *k)
	}
	w.mu.Unlock()
	w.history.Final()
	var keys []string
	w.history.Keys(func(key string) bool { keys = append(keys, key); return true })
	note("reading %d keys", len(keys))
	v.Keys, v.Unread = len(keys), w.readAll(ctx, keys)
	v.Listed = w.list(ctx)
	r := w.history.Report()
	v.Gets, v.Puts, v.Deletes, v.Maybe = r.Gets, r.Puts, r.Deletes, r.Maybe
	for fault, n := range r.Faults {
		v.Faults[string(fault)] = n
	}
	for _, x := range r.Violations {
		told := violation{Fault: string(x.Fault), Key: x.Key}
		for i := range x.Ops {
			told.Operations = append(told.Operations, x.Ops[i].String())
		}
		v.Violations = append(v.Violations, told)
	}
	switch {
	case len(v.Faults) > 0:
		v.Verdict = "violated"
	case v.Unread > 0 || !v.Listed:
		v.Verdict = "unknown"
	default:
		v.Verdict = "ok"
	}
	return v
}

// readAll reads every key with a majority and returns how many could not be read.
func (w *witness) readAll(ctx context.Context, keys []string) int {
	const readers = 64
	var next, unread atomic.Int64
	var running sync.WaitGroup
	for i := range readers {
		running.Go(func() {
			for n := next.Add(1); n <= int64(len(keys)); n = next.Add(1) {
				for w.get(ctx, i, []byte(keys[n-1]), client.Majority) != nil {
					if !rest(ctx) {
						unread.Add(1)
						break
					}
				}
			}
		})
	}
	running.Wait()
	return int(unread.Load())
}

// list lists the keys until a list is complete; false if none was.
func (w *witness) list(ctx context.Context) bool {
	for {
		l := w.history.List(0)
		cover, err := w.client.Keys(ctx, w.bucket, client.CoverOptions{}, func(it *client.Item) error {
			l.Key(string(it.Key))
			return nil
		})
		complete := err == nil && cover.Complete
		l.End(complete)
		if complete || !rest(ctx) {
			return complete
		}
	}
}

// rest waits before another try; false if there is no time for one.
func rest(ctx context.Context) bool {
	select {
	case <-time.After(100 * time.Millisecond):
		return true
	case <-ctx.Done():
		return false
	}
}

// summary is the verdict in one line.
func (v *verdict) summary() string {
	var parts []string
	for _, fault := range slices.Sorted(maps.Keys(v.Faults)) {
		parts = append(parts, fmt.Sprintf("%d %s", v.Faults[fault], fault))
	}
	if v.Unread > 0 {
		parts = append(parts, fmt.Sprintf("%d keys could not be read", v.Unread))
	}
	if !v.Listed {
		parts = append(parts, "no list of the keys was complete")
	}
	if len(parts) == 0 {
		return "ok"
	}
	return strings.Join(parts, ", ")
}

func (a *app) printVerdict(v *verdict) error {
	fmt.Fprintln(a.out)
	err := printTable(a.out, "CHECK GETS PUTS DELETES MAYBE KEYS LONGEST OWN-PAUSE", [][]string{{
		v.Verdict, strconv.FormatUint(v.Gets, 10), strconv.FormatUint(v.Puts, 10), strconv.FormatUint(v.Deletes, 10),
		strconv.FormatUint(v.Maybe, 10), strconv.Itoa(v.Keys), fmt.Sprintf("%.1f ms", v.Longest), fmt.Sprintf("%.1f ms", v.Pause),
	}})
	for _, code := range slices.Sorted(maps.Keys(v.Errors)) {
		fmt.Fprintf(a.out, "error %s: %d, the last: %s\n", code, v.Errors[code], v.LastErrors[code])
	}
	for _, x := range v.Violations {
		fmt.Fprintf(a.out, "%s: key %q\n", x.Fault, x.Key)
		for _, op := range x.Operations {
			fmt.Fprintf(a.out, "    %s\n", op)
		}
	}
	return err
}
