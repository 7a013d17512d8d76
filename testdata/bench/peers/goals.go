package main

import "fmt"

// goal is a line of what Ringcore is to reach.
type goal struct {
	What     string `json:"what"`
	Bar      string `json:"bar"`
	Measured string `json:"measured"`
	Verdict  string `json:"verdict"` // met, missed, or not measured
}

// verdict is a goal that was measured.
func verdict(met bool) string {
	if met {
		return "met"
	}
	return "**missed**"
}

const unmeasured = "not measured"

// add notes a goal: a figure and its bar, which it should reach from above or below. With
// ok false something that it needs was not measured.
func (r *report) add(ok bool, what, unit string, figure, bar float64, below bool) {
	g := goal{What: what, Measured: "–", Verdict: unmeasured}
	word, met := "at least", figure >= bar
	if below {
		word, met = "at most", figure <= bar
	}
	g.Bar = fmt.Sprintf("%s %.3g%s", word, bar, unit)
	if ok {
		g.Measured, g.Verdict = fmt.Sprintf("%.3g%s", figure, unit), verdict(met)
	}
	r.Goals = append(r.Goals, g)
}

// judge holds what was measured against the goals.
func (r *report) judge(o *options) {
	if o.bench {
		r.judgePuts()
		r.judgeGets()
	}
	r.judgeRESP()
	if o.bench {
		for _, what := range []string{
			"CPU of an operation at 1,024 partitions, and at 10 million records, to that at 64 and 100,000", "gets of 16 KiB and of 1 MiB, N=1",
			"p99 of small gets beside a stream of 1 MiB values",
		} {
			r.Goals = append(r.Goals, goal{What: what, Bar: "see make bench-growth", Measured: "–", Verdict: unmeasured})
		}
	}
}

func (r *report) judgePuts() {
	for _, b := range []struct {
		callers         int
		times, cpu, bad float64
	}{{256, 3, 14, 20}, {64, 2, 22, 30}} {
		ours := r.find(ringcoreTitle, "put", "", b.callers)
		best := r.bestRival(b.callers)
		ok, ratio, cpu := ours != nil && best != nil, 0.0, 0.0
		what := fmt.Sprintf("put, %d callers: ops/s to the best replicated durable peer", b.callers)
		if ok {
			ratio = ours.Rate / best.Rate
			what += " (" + best.System + ")"
		}
		if ours != nil {
			cpu = ours.ServerCPU
		}
		r.add(ok, what, " times", ratio, b.times, false)
		r.add(ours != nil, fmt.Sprintf("put, %d callers: server CPU", b.callers), " s/M", cpu, b.cpu, true)
		r.add(ours != nil, fmt.Sprintf("put, %d callers: server CPU, the least that counts as done", b.callers), " s/M", cpu, b.bad, true)
	}
	ours := r.find(ringcoreTitle, "put", "", 1)
	if ours == nil || len(r.Limits.Sync) == 0 {
		r.add(false, "put, 1 caller: p50 to three fdatasync loops and two round trips", " times", 0, 1.5, true)
		return
	}
	syncs, trips := mean(r.Limits.Sync), mean(r.Limits.Trip)
	what := fmt.Sprintf("put, 1 caller: p50 of %.3f ms to three fdatasync loops (%.3f ms) and two round trips (%.3f ms each)", ours.P50, syncs, trips)
	r.add(true, what, " times", ours.P50/(syncs+2*trips), 1.5, true)
}

// bestRival is the fastest peer whose puts are replicated and durable.
func (r *report) bestRival(callers int) *row {
	var best *row
	for i := range r.Rows {
		if x := &r.Rows[i]; x.Rival && x.Op == "put" && x.Callers == callers && (best == nil || x.Rate > best.Rate) {
			best = x
		}
	}
	return best
}

func (r *report) judgeGets() {
	for _, b := range []struct {
		detail   string
		times    float64
		cpu      float64 // at 64 callers
		cpuAt256 float64
	}{
		{detail: "R=1", times: 1.5, cpu: 7, cpuAt256: 5},
		{detail: "R=2", times: 0.8, cpu: 13, cpuAt256: 10},
	} {
		for _, callers := range []int{64, 256} {
			ours, redis := r.find(ringcoreTitle, "get", b.detail, callers), r.find(redisAlone, "get", "", callers)
			ok, ratio, cpu, bar := ours != nil && redis != nil, 0.0, 0.0, b.cpu
			if ok {
				ratio = ours.Rate / redis.Rate
			}
			if ours != nil {
				cpu = ours.ServerCPU
			}
			if callers == 256 {
				bar = b.cpuAt256
			}
			r.add(ok, fmt.Sprintf("get %s, %d callers: ops/s to Redis alone", b.detail, callers), " times", ratio, b.times, false)
			r.add(ours != nil, fmt.Sprintf("get %s, %d callers: server CPU", b.detail, callers), " s/M", cpu, bar, true)
		}
	}
	for _, b := range []struct {
		op  string
		cpu float64
	}{{"put", 6}, {"get", 4}} {
		for _, callers := range []int{64, 256} {
			ours, cpu := r.find(ringcoreAlone, b.op, "", callers), 0.0
			if ours != nil {
				cpu = ours.ServerCPU
			}
			r.add(ours != nil, fmt.Sprintf("%s with N=1, %d callers: server CPU", b.op, callers), " s/M", cpu, b.cpu, true)
		}
	}
}
