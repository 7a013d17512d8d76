package ringcore

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"regexp"
	"strconv"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes"
)

// Config says how a node runs. Only Dir is required.
type Config struct {
	Dir  string // data directory, of one node at a time
	Name string // unique in the cluster; the host name if empty

	Addr       string // raft, commands, handoff and clients; 127.0.0.1:7400 if empty
	GossipAddr string // Addr's port + 1 if empty
	HTTPAddr   string // + 2 if empty; "off" for none
	RESPAddr   string // + 3 if empty; "off" for none
	Advertise  string // host that others dial, if it is not that of Addr
	Insecure   bool   // allow other addresses than loopback, without TLS

	// Join names the Addr of any members of a cluster. A node that belongs to none yet
	// joins that one instead of making its own; later they serve to find the others.
	Join []string

	Zone       string // where the node stands; replicas are spread over zones
	Weight     int    // share of the ring relative to other nodes'; 1 if 0
	Partitions int    // of a cluster that is born here, a power of two from 8 to 4096; 64 if 0
	Replicas   int    // of each partition in a cluster that is born here; 3 if 0
	Storage    string // "disk", also if empty, or "memory"

	// Free room on the disk of Dir: "10GiB", "10%", or "0" for nothing but what the
	// node needs to finish its work. With less than DiskLow (10 % and at most 10 GiB
	// if empty) no partitions move here; with less than DiskCritical (3 % and at most
	// 2 GiB) commands and what other replicas send are refused, and reads go on.
	DiskLow      string
	DiskCritical string

	// AcceptLoss lets slots with one replica answer although a node that has taken writes
	// for them, or may have, cannot be reached: what it holds is missing until it is back.
	AcceptLoss bool
	HintBytes  int64 // of hints that the node sends to their owners in a second; 64 MiB if 0

	// CompareEvery is how often the replicas of each partition are compared, besides
	// when a node comes back; 10 minutes if 0, never if negative. Deleted records take up
	// room until all replicas have been compared twice.
	CompareEvery time.Duration

	// VoterPatience is for how long one of raft's voters may be silent before another member
	// votes in its place; 30 s if 0, for ever if negative. It stays a member, with its data.
	VoterPatience time.Duration

	// Capabilities are what the program's services can do in this version that other
	// versions may not: Node.Capability and Tx.Capability say what all members can. Names
	// that the core does not use; those of services begin with the service's by custom.
	Capabilities []Capability
	// Hold keeps capabilities, the core's too, at a version below the newest: the node
	// offers no more than that, so no member uses more, and the one before can come back.
	Hold map[string]int
	// Version is that of the program, for people; this module's if empty.
	Version string

	Services  []Service    // besides the key/value service, the same on every node
	WithoutKV bool         // leaves out the key/value service and its doors
	Logger    *slog.Logger // slog.Default() if nil

	// Tracer is told what the node does for requests that are traced, and of handoffs. A trace
	// comes in by the header traceparent of HTTP, with a Go client's request, or by WithTrace, and
	// goes on to all nodes that take part. Nothing is traced, at no cost, if nil.
	Tracer Tracer

	// Now is the wall clock from which stamps are made; time.Now if nil. For tests: a node
	// whose clock is wrong must do no harm.
	Now func() time.Time

	// Failpoint is told of the steps of transfers; see wire.Failpoint. For tests only.
	Failpoint func(wire.Failpoint) error

	// OneMachine shortens the waits for nodes that share a machine: tests and dev clusters.
	OneMachine bool

	floorAge   time.Duration // of tests: how far floors stay behind the clock; see vnodes.Config
	stuckAfter time.Duration // for tests: see the constant
}

const off = "off"

var nodeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// withDefaults fills in what zero stands for and checks the rest.
func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, fmt.Errorf("the data directory is missing: say where the node may keep its files")
	}
	if c.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			return c, fmt.Errorf("find the host name, to name the node: %w", err)
		}
		c.Name = host
	}
	if !nodeName.MatchString(c.Name) {
		return c, fmt.Errorf("node name %q: use 1 to 63 letters, digits, dots, dashes", c.Name)
	}
	if c.Addr == "" {
		c.Addr = "127.0.0.1:7400"
	}
	for _, a := range []struct {
		addr *string
		off  int
	}{{&c.GossipAddr, 1}, {&c.HTTPAddr, 2}, {&c.RESPAddr, 3}} {
		if *a.addr == "" {
			next, err := portAfter(c.Addr, a.off)
			if err != nil {
				return c, err
			}
			*a.addr = next
		}
	}
	if c.Partitions == 0 {
		c.Partitions = ring.DefaultPartitions
	}
	if c.Replicas == 0 {
		c.Replicas = ring.DefaultReplicas
	}
	if c.Weight == 0 {
		c.Weight = 1
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, c.check()
}

func (c *Config) check() error {
	switch {
	case !ring.ValidPartitions(c.Partitions):
		return fmt.Errorf("%d partitions: must be a power of two from %d to %d", c.Partitions, ring.MinPartitions, ring.MaxPartitions)
	case c.Replicas < 1 || c.Replicas > ring.MaxReplicas:
		return fmt.Errorf("%d replicas: must be 1 to %d", c.Replicas, ring.MaxReplicas)
	case c.HintBytes < 0:
		return fmt.Errorf("%d bytes of hints a second: must be more than 0, or 0 for 64 MiB", c.HintBytes)
	case c.Weight < 1:
		return fmt.Errorf("weight %d: must be at least 1", c.Weight)
	case c.Storage != "" && c.Storage != "disk" && c.Storage != "memory":
		return fmt.Errorf("storage %q: must be disk or memory", c.Storage)
	}
	if _, _, err := c.marks(); err != nil {
		return err
	}
	if c.Insecure {
		return nil
	}
	for _, addr := range []string{c.Addr, c.GossipAddr, c.HTTPAddr, c.RESPAddr} {
		if addr != off && !loopback(addr) {
			return fmt.Errorf("address %s is reachable from other machines, and nothing that travels there is encrypted yet: "+
				"listen on 127.0.0.1, or say that you accept this (Insecure, --insecure)", addr)
		}
	}
	return nil
}

// marks are DiskLow and DiskCritical.
func (c *Config) marks() (low, critical vnodes.Mark, err error) {
	if low, err = vnodes.ParseMark(c.DiskLow); err == nil {
		critical, err = vnodes.ParseMark(c.DiskCritical)
	}
	if err != nil {
		return low, critical, fmt.Errorf("free room on the disk: %w", err)
	}
	return low, critical, nil
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// portAfter is addr with its port raised by n; a port of 0, for any free one, stays.
func portAfter(addr string, n int) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("address %q: must be host:port", addr)
	}
	num, err := strconv.Atoi(port)
	if err != nil || num < 0 || num+n > 65535 {
		return "", fmt.Errorf("address %q: the port must be a number up to %d", addr, 65535-n)
	}
	if num > 0 {
		num += n
	}
	return net.JoinHostPort(host, strconv.Itoa(num)), nil
}

// advertised is the address under which others reach what listens on addr.
func (c *Config) advertised(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	switch ip := net.ParseIP(host); {
	case c.Advertise != "":
		host = c.Advertise
	case ip != nil && ip.IsUnspecified():
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	return net.JoinHostPort(host, port)
}
