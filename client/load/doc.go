// Package load puts load on a key/value store and measures how it answers: what
// `ringcore bench` does, for programs of your own. It stands on the standard library
// alone and knows no store: a [Target] is two functions.
//
//	l := &load.Load{
//		Target: load.Target{Put: put, Get: get}, Op: "mix", Reads: 95,
//		Callers: 64, Duration: 5 * time.Second, Keys: 100_000, Zipf: 0.99, Sizes: load.Size(100),
//	}
//	r := l.Run(ctx)
//	p99 := r.Latency.Quantile(0.99)
//
// # Closed and open loops
//
// Without a Rate the loop is closed: each caller sends its next request when it has
// the answer to the one before. A store that stands still is then asked nothing, and the
// stall is one slow answer for each caller.
//
// With a Rate the loop is open: operations are due at equal distances whatever becomes of
// those before, and the next one due is sent by whichever caller is free. One that found
// none free has waited, and its latency counts from when it was due. What a stall keeps from
// being sent is therefore in the latencies, or, at the end, in Result.Unsent.
//
// # Goroutines
//
// Run starts one for each caller, and one for Progress, and waits for them. A Load is
// used for one Run at a time.
package load
