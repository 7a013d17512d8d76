package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore"
)

// runningNode is what start and dev need of a node.
type runningNode interface {
	Ready(ctx context.Context) error
	Info() ringcore.Info
	Done() <-chan struct{}
	Err() error
	Close() error
}

// opener opens a node.
type opener func(ctx context.Context, cfg ringcore.Config) (runningNode, error)

func openNode(ctx context.Context, cfg ringcore.Config) (runningNode, error) {
	n, err := ringcore.Open(ctx, cfg)
	if err != nil {
		return nil, err // not n: a nil *Node would make an interface that is not nil
	}
	return n, nil
}

func (a *app) startCommand() *cobra.Command {
	s := &startSettings{}
	cmd := &cobra.Command{
		Use:   "start --data-dir DIR",
		Short: "Run one node",
		Long: "Run one node until SIGINT or SIGTERM, or until it has left its cluster.\n\n" +
			"With an empty data directory it makes a cluster of its own, or joins one with --join. When it serves\n" +
			"it prints a line that begins with \"ready\". Every flag can be set by an environment variable, as\n" +
			"RINGCORE_DATA_DIR, and in a TOML file, as data_dir; the command line counts before the environment,\n" +
			"and that before the file. ringcore config describe prints such a file.",
		Example: "  ringcore start --data-dir n1\n  ringcore start --data-dir n2 --name n2 --addr 127.0.0.1:7410 --join 127.0.0.1:7400",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := s.layer(a, cmd); err != nil {
				return err
			}
			if err := s.check(); err != nil {
				return err
			}
			cfg := s.cfg
			var err error
			if cfg.Logger, err = logger(a.err, s.level, s.format); err != nil {
				return err
			}
			if cfg.Now, err = testClock(a.getenv, time.Now()); err != nil {
				return err
			}
			if err := a.versions(&cfg); err != nil {
				return err
			}
			if cfg.Failpoint, err = failpoints(a.getenv); err != nil {
				return err
			}
			traced, err := s.trace.open(a, &cfg)
			if err != nil {
				return err
			}
			defer traced()
			defer giveHeapRoom(a.getenv)()
			return a.start(cmd.Context(), cfg)
		},
	}
	s.flags(cmd)
	return cmd
}

// start runs one node until ctx ends or it has left.
func (a *app) start(ctx context.Context, cfg ringcore.Config) error {
	left, err := a.serve(ctx, cfg, func(i ringcore.Info) { fmt.Fprintln(a.out, readyLine(i)) })
	if left {
		a.note("this node has left its cluster")
	}
	return err
}

// serve runs one node until ctx ends or the node stops by itself. It calls ready
// when the node serves. left reports that the node has left its cluster now.
func (a *app) serve(ctx context.Context, cfg ringcore.Config, ready func(ringcore.Info)) (left bool, err error) {
	n, err := a.open(ctx, cfg)
	if err != nil {
		return false, openFailure(ctx, &cfg, err)
	}
	if err := n.Ready(ctx); err == nil {
		ready(n.Info())
	} else if !ended(n) {
		return false, openFailure(ctx, &cfg, errors.Join(err, n.Close()))
	}
	select {
	case <-ctx.Done():
		cfg.Logger.Info("stopping", "node", n.Info().Name)
	case <-n.Done():
		if err := n.Err(); err != nil {
			_ = n.Close() // what fails after that is the consequence, and logged
			return false, fmt.Errorf("node %s stopped: %w", n.Info().Name, err)
		}
		left = true
	}
	if err := n.Close(); err != nil {
		return left, fmt.Errorf("close node %s: %w", n.Info().Name, err)
	}
	return left, nil
}

// ended reports whether the node has stopped by itself.
func ended(n runningNode) bool {
	select {
	case <-n.Done():
		return true
	default:
		return false
	}
}

// readyLine says that a node serves, for people and for scripts.
func readyLine(i ringcore.Info) string {
	resp := i.RESPAddr
	if resp == "" {
		resp = "off"
	}
	return fmt.Sprintf("ready name=%s id=%s addr=%s http=%s resp=%s", i.Name, i.ID, i.Addr, i.HTTPAddr, resp)
}
