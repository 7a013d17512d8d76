package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes"
)

// startSettings are all that start can be told, by flags, environment and file.
type startSettings struct {
	cfg           ringcore.Config
	hintRate      string
	hold          []string
	trace         traceSettings
	level, format string // of the log
	file          string // of settings
}

// startNames are the flags of start that the file and the environment can set.
var startNames = []string{
	"data-dir", "name", "addr", "gossip-addr", "http-addr", "resp-addr", "join", "advertise", "insecure",
	"zone", "weight", "partitions", "replicas", "storage", "disk-low", "disk-critical", "hint-rate", "accept-loss", "compare-every", "voter-patience", "hold",
	"trace-endpoint", "trace-ratio", "log-level", "log-format",
}

// flags gives cmd a flag for each setting.
func (s *startSettings) flags(cmd *cobra.Command) {
	f, cfg := cmd.Flags(), &s.cfg
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
	addBirthFlags(cmd, cfg)
	addDiskFlags(cmd, cfg)
	f.StringVar(&s.hintRate, "hint-rate", "", "bytes of hints sent to their owners in a second (64MiB)")
	f.BoolVar(&cfg.AcceptLoss, "accept-loss", false, "with one replica, answer although a node that may have taken writes cannot be reached")
	f.DurationVar(&cfg.CompareEvery, "compare-every", 10*time.Minute, "how often replicas are compared, besides when a node comes back; negative for never")
	f.StringSliceVar(&s.hold, "hold", nil, "NAME=VERSION of capabilities that this node is not to go beyond, so that the version before can come back")
	f.DurationVar(&cfg.VoterPatience, "voter-patience", 30*time.Second, "how long one of raft's voters may be silent before another member votes in its place; negative for ever")
	s.trace.flags(cmd)
	addLogFlags(cmd, &s.level, &s.format, "info")
	f.StringVar(&s.file, "config", "", "TOML file with settings (RINGCORE_CONFIG)")
}

// layer fills in what the command line did not say, and returns where each setting comes from.
func (s *startSettings) layer(a *app, cmd *cobra.Command) (map[string]string, error) {
	if _, err := a.layer(cmd, []string{"config"}, ""); err != nil {
		return nil, err
	}
	a.noteMisspelt(os.Environ(), startNames)
	return a.layer(cmd, startNames, s.file)
}

// check refuses what the node would refuse too, and fills in what flags only name.
func (s *startSettings) check() (err error) {
	if err := checkConfig(&s.cfg); err != nil {
		return err
	}
	if s.cfg.HintBytes, err = parseRate(s.hintRate); err != nil {
		return usagef("", "--hint-rate: %w", err)
	}
	if s.cfg.Hold, err = parseHold(s.hold); err != nil {
		return err
	}
	if _, err := s.trace.target(func(string) string { return "" }); err != nil {
		return err
	}
	_, err = logger(io.Discard, s.level, s.format)
	return err
}

// parseHold reads NAME=VERSION of each capability that is held.
func parseHold(hold []string) (map[string]int, error) {
	held := make(map[string]int)
	for _, h := range hold {
		name, text, _ := strings.Cut(h, "=")
		version, err := strconv.Atoi(text)
		if err != nil {
			return nil, usagef("write NAME=VERSION, as metadata=1", "--hold %q is not that", h)
		}
		held[name] = version
	}
	return held, nil
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

// logger writes text or JSON to w from the level on.
func logger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usagef("pass --log-level debug, info, warn or error", "unknown log level %q", level)
	}
	o := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, usagef("pass --log-format text or json", "unknown log format %q", format)
}

// addLogFlags are those about the log.
func addLogFlags(cmd *cobra.Command, level, format *string, defaultLevel string) {
	f := cmd.Flags()
	f.StringVar(level, "log-level", defaultLevel, "debug, info, warn or error")
	f.StringVar(format, "log-format", "text", "text, or json: one object a line")
}
