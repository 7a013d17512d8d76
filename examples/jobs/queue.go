package main

import (
	"time"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/typed"
)

// job is what is kept of a job, under its id.
type job struct {
	Payload string
	Worker  string    // who has it; empty while nobody does
	Until   time.Time // then another one may have it
	Tries   int
}

type (
	add   struct{ Payload string }
	claim struct {
		Worker string
		For    time.Duration
	}
	done struct{ Worker string }
)

var (
	addJob   = typed.Command[add, bool]{Service: "jobs", Name: "add"} // false: there is one of that id already
	claimJob = typed.Command[claim, job]{Service: "jobs", Name: "claim"}
	doneJob  = typed.Command[done, struct{}]{Service: "jobs", Name: "done"}
	waiting  = typed.Cover[struct{}, job]{Service: "jobs", Name: "waiting"} // that a worker may claim now
	all      = typed.Cover[struct{}, job]{Service: "jobs", Name: "all"}     // that are not done

	jobs typed.Records[job]
)

// service is the queue with a clock: leases end by that of the node where a job lives.
func service(now func() time.Time) ringcore.Service {
	onAdd := func(tx *ringcore.Tx, a add) (bool, error) {
		if _, known := tx.Get(tx.Key()); known {
			return false, nil
		}
		return true, jobs.Put(tx, tx.Key(), job{Payload: a.Payload})
	}
	onClaim := func(tx *ringcore.Tx, a claim) (job, error) {
		j, ok, err := jobs.Get(tx, tx.Key())
		switch {
		case err != nil:
			return j, err
		case !ok:
			return j, ringcore.Errorf(ringcore.CodeNotFound, "the job is done")
		case j.Worker != "" && j.Worker != a.Worker && now().Before(j.Until):
			return j, ringcore.Errorf(ringcore.CodeConflict, "%s has the job", j.Worker)
		}
		j.Worker, j.Until, j.Tries = a.Worker, now().Add(a.For), j.Tries+1
		return j, jobs.Put(tx, tx.Key(), j)
	}
	onDone := func(tx *ringcore.Tx, a done) (struct{}, error) {
		j, ok, err := jobs.Get(tx, tx.Key())
		switch {
		case err != nil || !ok: // once is enough
			return struct{}{}, err
		case j.Worker != a.Worker:
			return struct{}{}, ringcore.Errorf(ringcore.CodeConflict, "%s has the job now", j.Worker)
		}
		tx.Delete(tx.Key())
		return struct{}{}, nil
	}
	onWaiting := func(_ struct{}, _ []byte, r ringcore.Record) (job, bool, error) {
		j, err := jobs.Parse(r.Value)
		return j, j.Worker == "" || !now().Before(j.Until), err
	}
	onAll := func(_ struct{}, _ []byte, r ringcore.Record) (job, bool, error) {
		j, err := jobs.Parse(r.Value)
		return j, true, err
	}
	return ringcore.Service{Name: "jobs", N: 1, New: func(ringcore.Partition) ringcore.Vnode {
		return typed.Methods{addJob.By(onAdd), claimJob.By(onClaim), doneJob.By(onDone), waiting.By(onWaiting), all.By(onAll)}
	}}
}
