package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore/admin"
)

// topFlags are the flags of top.
type topFlags struct {
	every  time.Duration
	once   bool
	json   bool
	vnodes bool
}

func (a *app) topCommand() *cobra.Command {
	f := &topFlags{}
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch the nodes at work: requests, latencies, queues, CPU, memory, transfers, hints",
		Long: "Watch the nodes at work. Requests, failures and latencies are of what came from outside the cluster since\n" +
			"the look before; CPU and memory are of the node's process. q ends it, < and > choose the column to sort\n" +
			"by, r turns the order round, v shows vnodes in the place of nodes.\n\n" +
			"When stdout is no terminal it prints one table, of one interval, as with --once. In JSON it prints a\n" +
			"document a line until it is interrupted, or one with --once.",
		Example: "  ringcore top\n  ringcore top --once\n  ringcore top --json --interval 10s",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.every < 100*time.Millisecond {
				return usagef("pass for example --interval 2s", "an interval of %s is too short", f.every)
			}
			if f.json {
				a.output = "json"
			}
			return a.top(cmd.Context(), f)
		},
	}
	cmd.Flags().DurationVar(&f.every, "interval", time.Second, "how often it looks")
	cmd.Flags().BoolVar(&f.once, "once", false, "look for one interval, print, and end")
	cmd.Flags().BoolVar(&f.json, "json", false, "as -o json")
	cmd.Flags().BoolVar(&f.vnodes, "vnodes", false, "begin with vnodes: the busiest first")
	return cmd
}

// top looks until ctx ends or, at a terminal, somebody has had enough.
func (a *app) top(ctx context.Context, f *topFlags) error {
	api, err := a.api()
	if err != nil {
		return err
	}
	first, err := look(ctx, api, f.vnodes)
	if err != nil {
		return err // before the screen is touched, and with its hint
	}
	in, isFile := a.in.(*os.File)
	out, isTerminal := a.out.(*os.File)
	isTerminal = isTerminal && isFile && terminal(in) && terminal(out)
	if a.json() || f.once || !isTerminal {
		return a.topPlain(ctx, api, f, first)
	}
	s, err := openScreen(in, out)
	if err != nil {
		return fmt.Errorf("the terminal: %w", err)
	}
	defer s.close()
	return topLive(ctx, api, f, s, first)
}

// look asks for all that top shows.
func look(ctx context.Context, api *apiClient, vnodes bool) (*topLook, error) {
	l := &topLook{at: time.Now()}
	if err := api.get(ctx, "/v1/load", nil, &l.load); err != nil {
		return nil, err
	}
	if vnodes {
		var v admin.VnodesView
		if err := api.get(ctx, "/v1/vnodes", nil, &v); err != nil {
			return nil, err
		}
		l.vnodes = v.Vnodes
	}
	return l, api.get(ctx, "/v1/cluster/status", nil, &l.status)
}

// topPlain prints one interval, or in JSON one after another.
func (a *app) topPlain(ctx context.Context, api *apiClient, f *topFlags, before *topLook) error {
	tick := time.NewTicker(f.every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			if f.once {
				return ctx.Err()
			}
			return nil // interrupted, as a watch ends
		}
		now, err := look(ctx, api, f.vnodes)
		switch {
		case ctx.Err() != nil:
			continue
		case err != nil:
			return err
		}
		view := between(before, now)
		before = now
		switch {
		case a.json() && f.once:
			return a.printJSON(view)
		case a.json():
			line, err := json.Marshal(view)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.out, "%s\n", line)
		default:
			for _, line := range view.plain(f.vnodes) {
				fmt.Fprintln(a.out, line)
			}
			return nil
		}
	}
}

// topLive draws until a key or ctx ends it. The looks are taken by a goroutine, so that a node
// that does not answer does not keep a key waiting; it ends with topLive.
func topLive(ctx context.Context, api *apiClient, f *topFlags, s *screen, first *topLook) error {
	ctx, cancel := context.WithCancel(ctx)
	looks := make(chan seen)
	var looker sync.WaitGroup
	defer looker.Wait()
	defer cancel()
	ui := &topUI{vnodes: f.vnodes, every: f.every, sort: topSort{nodes: -1, vnodes: -1}, view: between(first, first)}
	wants := make(chan bool, 1) // the looker's newest order: with vnodes or without
	looker.Go(func() { lookEvery(ctx, api, f.every, f.vnodes, wants, looks) })
	before := first
	for {
		s.draw(ui.frame(s.size()))
		select {
		case x := <-looks:
			if ui.err = x.err; x.err == nil {
				ui.view = between(before, x.look)
				before = x.look
			}
		case k := <-s.keys:
			if ui.key(k) {
				return nil
			}
			select { // the looker has taken the one before, or does not need it any more
			case <-wants:
			default:
			}
			wants <- ui.vnodes
		case <-s.resized:
		case <-ctx.Done():
			return nil
		}
	}
}

// seen is one look, or why there was none.
type seen struct {
	look *topLook
	err  error
}

// lookEvery looks until ctx ends.
func lookEvery(ctx context.Context, api *apiClient, every time.Duration, vnodes bool, wants <-chan bool, out chan<- seen) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case vnodes = <-wants:
			continue
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		l, err := look(ctx, api, vnodes)
		select {
		case out <- seen{l, err}:
		case <-ctx.Done():
			return
		}
	}
}
