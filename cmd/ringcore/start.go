package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes"
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

// startNames are the flags of start that the file and the environment can set.
var startNames = []string{
	"data-dir", "name", "addr", "gossip-addr", "http-addr", "resp-addr", "join", "advertise", "insecure",
	"zone", "weight", "partitions", "replicas", "storage", "disk-low", "disk-critical", "hint-rate", "accept-loss", "compare-every", "voter-patience", "hold", "log-level",
}

func (a *app) startCommand() *cobra.Command {
	var cfg ringcore.Config
	var file, level, hintRate string
	var hold []string
	cmd := &cobra.Command{
		Use:   "start --data-dir DIR",
		Short: "Run one node",
		Long: "Run one node until SIGINT or SIGTERM, or until it has left its cluster.\n\n" +
			"With an empty data directory it makes a cluster of its own, or joins one with --join. When it serves\n" +
			"it prints a line that begins with \"ready\". Every flag can be set by an environment variable, as\n" +
			"RINGCORE_DATA_DIR, and in a TOML file, as data_dir; the command line counts before the environment,\n" +
			"and that before the file.",
		Example: "  ringcore start --data-dir n1\n  ringcore start --data-dir n2 --name n2 --addr 127.0.0.1:7410 --join 127.0.0.1:7400",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.layer(cmd, []string{"config"}, ""); err != nil {
				return err
			}
			if err := a.layer(cmd, startNames, file); err != nil {
				return err
			}
			var err error
			if cfg.Logger, err = logger(a.err, level); err != nil {
				return err
			}
			if err := checkConfig(&cfg); err != nil {
				return err
			}
			if cfg.HintBytes, err = parseRate(hintRate); err != nil {
				return usagef("", "--hint-rate: %w", err)
			}
			if cfg.Now, err = testClock(a.getenv, time.Now()); err != nil {
				return err
			}
			if err := a.versions(&cfg, hold); err != nil {
				return err
			}
			if cfg.Failpoint, err = failpoints(a.getenv); err != nil {
				return err
			}
			return a.start(cmd.Context(), cfg)
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Dir, "data-dir", "", "folder for everything that the node keeps (required)")
	f.StringVar(&cfg.Name, "name", "", "name, unique in the cluster (host name)")
	f.StringVar(&cfg.Addr, "addr", "127.0.0.1:7400", "address for nodes and clients")
	f.StringVar(&cfg.GossipAddr, "gossip-addr", "", "address for gossip (port of --addr + 1)")
	f.StringVar(&cfg.HTTPAddr, "http-addr", "", "address for HTTP (port of --addr + 2)")
	f.StringVar(&cfg.RESPAddr, "resp-addr", "", "address for the Redis protocol, or off (port of --addr + 3)")
	f.StringSliceVar(&cfg.Join, "join", nil, "addresses of members of the cluster to join")
	f.StringVar(&cfg.Advertise, "advertise", "", "host that others dial, if it is not that of --addr")
	f.BoolVar(&cfg.Insecure, "insecure", false, "listen on other addresses than loopback without TLS")
	f.StringVar(&cfg.Zone, "zone", "", "zone; replicas are spread over zones")
	f.IntVar(&cfg.Weight, "weight", 1, "share of the ring, against 1 of the others")
	addBirthFlags(cmd, &cfg)
	addDiskFlags(cmd, &cfg)
	f.StringVar(&hintRate, "hint-rate", "", "bytes of hints sent to their owners in a second (64MiB)")
	f.BoolVar(&cfg.AcceptLoss, "accept-loss", false, "with one replica, answer although a node that may have taken writes cannot be reached")
	f.DurationVar(&cfg.CompareEvery, "compare-every", 10*time.Minute, "how often replicas are compared, besides when a node comes back; negative for never")
	f.StringSliceVar(&hold, "hold", nil, "NAME=VERSION of capabilities that this node is not to go beyond, so that the version before can come back")
	f.DurationVar(&cfg.VoterPatience, "voter-patience", 30*time.Second, "how long one of raft's voters may be silent before another member votes in its place; negative for ever")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&file, "config", "", "TOML file with settings")
	return cmd
}

// addBirthFlags are those that start and dev share.
func addBirthFlags(cmd *cobra.Command, cfg *ringcore.Config) {
	f := cmd.Flags()
	f.IntVar(&cfg.Partitions, "partitions", 64, "partitions of the ring, a power of two; counts when a cluster is born")
	f.IntVar(&cfg.Replicas, "replicas", 3, "replicas of each partition; counts when a cluster is born")
	f.StringVar(&cfg.Storage, "storage", "disk", "disk or memory")
}

// addDiskFlags are those about the room on the disk.
func addDiskFlags(cmd *cobra.Command, cfg *ringcore.Config) {
	f := cmd.Flags()
	f.StringVar(&cfg.DiskLow, "disk-low", "", "free room, as 10GiB or 10%, below which no partitions move here (10%, at most 10GiB)")
	f.StringVar(&cfg.DiskCritical, "disk-critical", "", "free room below which writes are refused (3%, at most 2GiB)")
}

// checkConfig refuses what the node would refuse too, with a hint about flags.
func checkConfig(cfg *ringcore.Config) error {
	if cfg.Dir == "" {
		return usagef("pass --data-dir DIR, or set RINGCORE_DATA_DIR", "there is no data directory")
	}
	if cfg.Storage != "disk" && cfg.Storage != "memory" {
		return usagef("pass --storage disk or --storage memory", "unknown storage %q", cfg.Storage)
	}
	if !ring.ValidPartitions(cfg.Partitions) {
		return usagef(fmt.Sprintf("pass a power of two from %d to %d", ring.MinPartitions, ring.MaxPartitions), "a ring cannot have %d partitions", cfg.Partitions)
	}
	if cfg.Replicas < 1 || cfg.Replicas > ring.MaxReplicas {
		return usagef(fmt.Sprintf("pass 1 to %d", ring.MaxReplicas), "a partition cannot have %d replicas", cfg.Replicas)
	}
	for _, m := range []struct{ flag, mark string }{{"disk-low", cfg.DiskLow}, {"disk-critical", cfg.DiskCritical}} {
		if _, err := vnodes.ParseMark(m.mark); err != nil {
			return usagef("", "--%s: %w", m.flag, err)
		}
	}
	if cfg.Insecure {
		return nil
	}
	for _, l := range []struct{ flag, addr string }{
		{"addr", cfg.Addr}, {"gossip-addr", cfg.GossipAddr}, {"http-addr", cfg.HTTPAddr}, {"resp-addr", cfg.RESPAddr},
	} {
		if l.addr == "" || l.addr == "off" {
			continue
		}
		host, _, err := net.SplitHostPort(l.addr)
		if err != nil {
			return usagef("write host:port", "--%s: %w", l.flag, err)
		}
		if !loopback(host) {
			return &failure{
				code: exitRefused, err: fmt.Errorf("--%s %s is reachable from other machines, and there is no TLS", l.flag, l.addr),
				hint: "listen on 127.0.0.1, or pass --insecure if the network is yours alone",
			}
		}
	}
	return nil
}

// parseRate reads a number of bytes, as 64MiB; 0 if s is empty.
func parseRate(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	m, err := vnodes.ParseMark(s)
	if err != nil || m.Bytes <= 1 {
		return 0, fmt.Errorf("%q: write bytes, as 64MiB", s)
	}
	return m.Bytes, nil
}

// loopback reports whether host reaches this machine only.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// logger writes text to w from the level on.
func logger(w io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usagef("pass --log-level debug, info, warn or error", "unknown log level %q", level)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l})), nil
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
