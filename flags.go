package ringcore

import (
	"flag"
	"strings"
)

// Flags adds to fs the flags that most programs with a node in them want, named as those
// of `ringcore start`: --data-dir, --name, --addr, --join, --advertise, --insecure, --zone,
// --storage, --partitions and --replicas. What c has already is their default.
func (c *Config) Flags(fs *flag.FlagSet) {
	fs.StringVar(&c.Dir, "data-dir", c.Dir, "folder for what the node keeps (required)")
	fs.StringVar(&c.Name, "name", c.Name, "name of the node, unique in the cluster; the host name if empty")
	addr := c.Addr
	if addr == "" {
		addr = "127.0.0.1:7400"
	}
	fs.StringVar(&c.Addr, "addr", addr, "address for other nodes and Go clients; gossip, HTTP and RESP follow on the next ports")
	fs.Func("join", "addresses of members of the cluster to join, with commas between", func(s string) error {
		c.Join = append(c.Join, strings.Split(s, ",")...)
		return nil
	})
	fs.StringVar(&c.Advertise, "advertise", c.Advertise, "host that others dial, if it is not that of --addr")
	fs.BoolVar(&c.Insecure, "insecure", c.Insecure, "listen on other addresses than loopback, though nothing is encrypted")
	fs.StringVar(&c.Zone, "zone", c.Zone, "where the node stands; replicas are spread over zones")
	fs.StringVar(&c.Storage, "storage", c.Storage, "disk or memory; disk if empty")
	fs.IntVar(&c.Partitions, "partitions", c.Partitions, "partitions of a cluster that is born here; 64 if 0")
	fs.IntVar(&c.Replicas, "replicas", c.Replicas, "replicas of each partition in a cluster that is born here; 3 if 0")
}
