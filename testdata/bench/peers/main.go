// Peers measures Ringcore beside the systems that users would pick instead: the same
// workload, by one load generator, on three processes of each in turn. `make bench-peers`
// and `make bench-resp` run it.
//
//	peers bench --ringcore bin/ringcore --duration 3s --callers 1,64,256 --only ringcore,redis
//	peers resp  --ringcore bin/ringcore
//	peers serve etcd --node 1 --ports 4001,4002,… --dir D      started by bench
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("pass bench, resp or serve")
	}
	switch args[0] {
	case "bench", "resp":
		o, err := parse(args[0], args[1:])
		if err != nil {
			return err
		}
		return o.run(ctx)
	case "serve":
		return serve(ctx, args[1:])
	}
	return fmt.Errorf("unknown command %q: pass bench, resp or serve", args[0])
}

// options are what one run measures and where it says so.
type options struct {
	ringcore string // the binary
	dir      string // on the disk to measure
	duration time.Duration
	callers  []int
	keys     int
	only     map[string]bool // nil: all
	quiet    float64         // percent that others may take of the machine before a measurement is tried again
	tries    int
	json     string
	markdown string
	resp     bool // measure with the Redis protocol
	bench    bool // measure with each system's Go client
}

func parse(command string, args []string) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet(command, flag.ContinueOnError)
	fs.StringVar(&o.ringcore, "ringcore", "ringcore", "the binary")
	fs.StringVar(&o.dir, "dir", "", "folder for the data, on the disk to measure; a temporary one if empty")
	fs.DurationVar(&o.duration, "duration", 3*time.Second, "of one measurement")
	callers := fs.String("callers", "1,64,256", "requests under way at a time")
	fs.IntVar(&o.keys, "keys", 100_000, "how many keys")
	only := fs.String("only", "", "systems to measure, with commas; all if empty")
	fs.Float64Var(&o.quiet, "quiet", 15, "percent of the machine that others may take before a measurement is tried again")
	fs.IntVar(&o.tries, "tries", 2, "how often it is tried")
	fs.StringVar(&o.json, "json", "", "file for the results as JSON")
	fs.StringVar(&o.markdown, "markdown", "", "file for the tables")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	for s := range strings.SplitSeq(*callers, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("--callers %q: pass for example 1,64,256", *callers)
		}
		o.callers = append(o.callers, n)
	}
	if *only != "" {
		o.only = map[string]bool{}
		for s := range strings.SplitSeq(*only, ",") {
			o.only[s] = true
		}
	}
	if o.keys < 1 || o.duration <= 0 || o.tries < 1 || fs.NArg() > 0 {
		return nil, fmt.Errorf("--keys, --duration and --tries are positive, and nothing follows: %q", fs.Args())
	}
	o.bench, o.resp = command == "bench", command == "resp" || o.wants("resp")
	return o, nil
}

// wants reports whether a system is to be measured.
func (o *options) wants(name string) bool { return o.only == nil || o.only[name] }

// run measures, and prints the tables and the goals.
func (o *options) run(ctx context.Context) error {
	work, err := os.MkdirTemp(o.dir, "peers")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	r := &report{Date: time.Now().UTC().Truncate(time.Second), Machine: machine(), Keys: o.keys, Seconds: o.duration.Seconds()}
	err = o.measure(ctx, r, work)
	r.judge(o)
	return errors.Join(err, r.write(o)) // also what there is until an error or an interrupt
}

func (o *options) measure(ctx context.Context, r *report, work string) error {
	if o.bench {
		for _, s := range systems(o) {
			if err := o.measureSystem(ctx, r, s, work); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	if o.resp {
		if err := o.measureRESP(ctx, r, work); err != nil {
			return fmt.Errorf("resp: %w", err)
		}
	}
	return nil
}
