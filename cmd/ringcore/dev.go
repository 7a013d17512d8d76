package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore"
)

// portStep is the distance between the ports of two nodes of dev.
const portStep = 10

// devOptions are the flags of dev.
type devOptions struct {
	nodes    int
	dir      string
	basePort int
	node     ringcore.Config // what all nodes have in common
}

// devNames are the flags of dev that the file and the environment can set.
var devNames = []string{"nodes", "data-dir", "base-port", "partitions", "replicas", "storage", "trace-endpoint", "trace-ratio", "log-level", "log-format"}

func (a *app) devCommand() *cobra.Command {
	var o devOptions
	var file, level, format string
	var trace traceSettings
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a cluster on this machine, in one process",
		Long: "Run a cluster on this machine, in one process, until SIGINT or SIGTERM.\n\n" +
			"Node n1 listens at the base port, n2 ten above, and so on. The data stays in the data directory;\n" +
			"the same command, also on other ports, starts the same cluster again.",
		Example: "  ringcore dev\n  ringcore dev --nodes 5 --base-port 8400 --data-dir /tmp/five",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := a.layer(cmd, []string{"config"}, ""); err != nil {
				return err
			}
			if _, err := a.layer(cmd, devNames, file); err != nil {
				return err
			}
			var err error
			if o.node.Logger, err = logger(a.err, level, format); err != nil {
				return err
			}
			configs, left, err := o.configs()
			if err != nil {
				return err
			}
			for _, name := range left {
				a.note("note: %s has left the cluster and is not started; remove %s to let it join again", name, filepath.Join(o.dir, name))
			}
			if len(configs) == 0 {
				return &failure{
					code: exitRefused, err: fmt.Errorf("every node in %s has left its cluster", o.dir),
					hint: "remove the folder to begin anew, or choose another --data-dir",
				}
			}
			for i := range configs {
				traced, err := trace.open(a, &configs[i])
				if err != nil {
					return err
				}
				defer traced()
			}
			d := &devCluster{app: a, dir: o.dir, configs: configs}
			return d.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.nodes, "nodes", 3, "how many nodes")
	f.StringVar(&o.dir, "data-dir", "./ringcore-data", "folder of the nodes' folders")
	f.IntVar(&o.basePort, "base-port", 7400, "port of n1; n2 has this + 10, and so on")
	addBirthFlags(cmd, &o.node)
	trace.flags(cmd)
	addLogFlags(cmd, &level, &format, "warn")
	f.StringVar(&file, "config", "", "TOML file with settings")
	return cmd
}

// configs makes the configurations of the nodes to start, which are those that
// have not left, and the names of those that have. One node, the first that has
// data or else n1, starts without anybody to join: only there can a cluster be born.
// The others know all that have data, so that it does not matter who has left since.
func (o *devOptions) configs() (configs []ringcore.Config, left []string, err error) {
	last := o.basePort + portStep*(o.nodes-1) + 3
	if o.nodes < 1 || o.basePort < 1 || last > 65535 {
		return nil, nil, usagef("", "%d nodes from port %d on: ports go from 1 to 65535", o.nodes, o.basePort)
	}
	var members []string // addresses of nodes that have data
	for i := range o.nodes {
		c := o.node
		c.Name = "n" + strconv.Itoa(i+1)
		c.Dir = filepath.Join(o.dir, c.Name)
		c.Addr = "127.0.0.1:" + strconv.Itoa(o.basePort+portStep*i)
		c.OneMachine = true
		if err := checkConfig(&c); err != nil {
			return nil, nil, err
		}
		used, gone := traces(c.Dir)
		if gone {
			left = append(left, c.Name)
			continue
		}
		if used {
			members = append(members, c.Addr)
		}
		configs = append(configs, c)
	}
	if len(members) == 0 && len(configs) > 0 {
		members = []string{configs[0].Addr}
	}
	for i := range configs {
		if c := &configs[i]; c.Addr != members[0] {
			c.Join = slices.DeleteFunc(slices.Clone(members), func(addr string) bool { return addr == c.Addr })
		}
	}
	return configs, left, nil
}

// devCluster is one run of dev. The goroutine that calls run prints and decides;
// each node has one more, which starts it and waits until it ends.
type devCluster struct {
	app     *app
	dir     string
	configs []ringcore.Config
	events  chan devEvent  // from the nodes' goroutines, each of which sends at most twice
	wg      sync.WaitGroup // the nodes' goroutines
}

// devEvent says that a node serves now, or that it has ended.
type devEvent struct {
	name  string
	ready bool // it serves; else it has ended
	info  ringcore.Info

	served bool  // it had served before it ended
	left   bool  // it ended because it has left its cluster
	err    error // it ended by this
}

// run starts all nodes at once and returns when they have all ended: because ctx
// has, because they have left their cluster, or because one could not start.
func (d *devCluster) run(ctx context.Context) error {
	d.events = make(chan devEvent, 2*len(d.configs))
	ctx, stop := context.WithCancel(ctx)
	defer d.wg.Wait()
	defer stop()
	for _, cfg := range d.configs {
		d.wg.Go(func() { d.runNode(ctx, cfg) })
	}
	var failed error
	var first ringcore.Info // of those that serve, by name
	pending, serving, announced := len(d.configs), 0, false
	for pending+serving > 0 {
		e := <-d.events
		switch {
		case e.ready:
			pending, serving = pending-1, serving+1
			fmt.Fprintln(d.app.out, readyLine(e.info))
			if first.Name == "" || e.info.Name < first.Name {
				first = e.info
			}
		case e.served:
			serving--
		default:
			pending--
		}
		if err := d.ended(e); err != nil {
			failed = errors.Join(failed, err)
			if !e.served {
				stop() // a cluster that does not start as a whole is not what was asked for
			}
		}
		if pending == 0 && serving > 0 && !announced && ctx.Err() == nil {
			announced = true
			fmt.Fprintf(d.app.out, "ready cluster nodes=%d\n", serving)
			d.tips(first)
		}
	}
	return failed
}

// ended tells about a node that has ended, and returns why if it failed.
func (d *devCluster) ended(e devEvent) error {
	switch {
	case e.left:
		d.app.note("%s has left the cluster and is stopped", e.name)
	case e.err != nil && e.served:
		d.app.note("%s stopped: %v", e.name, e.err)
	}
	return e.err
}

// runNode starts one node and waits until it ends.
func (d *devCluster) runNode(ctx context.Context, cfg ringcore.Config) {
	e := devEvent{name: cfg.Name}
	e.left, e.err = d.app.serve(ctx, cfg, func(i ringcore.Info) {
		e.served = true
		d.events <- devEvent{name: cfg.Name, ready: true, info: i}
	})
	d.events <- e
}

// tips says what to try next.
func (d *devCluster) tips(first ringcore.Info) {
	d.app.note("\nTry, in another terminal:")
	if first.HTTPAddr != "127.0.0.1:7402" {
		d.app.note("  export RINGCORE_ENDPOINT=http://%s", first.HTTPAddr)
	}
	d.app.note("  ringcore kv put hello world")
	d.app.note("  ringcore ring status")
	d.app.note("  curl http://%s/v1/kv/default/hello", first.HTTPAddr)
	if _, port, err := net.SplitHostPort(first.RESPAddr); err == nil {
		d.app.note("  redis-cli -p %s get hello", port)
	}
	d.app.note("Ctrl-C stops the cluster. Its folder is %s.", d.dir)
}
