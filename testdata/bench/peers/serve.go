package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
)

// node is one process of a system that is a Go module.
type node struct {
	number int   // 0 to 2
	ports  []int // of all nodes, first the first of each, then the second …
	dir    string
}

// port is the i-th port of node n.
func (n *node) port(i, node int) int { return n.ports[i*3+node] }

// serve runs one node until ctx ends.
func serve(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("serve what?")
	}
	n := &node{}
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	fs.IntVar(&n.number, "node", 0, "0, 1 or 2")
	ports := fs.String("ports", "", "of all nodes")
	fs.StringVar(&n.dir, "dir", "data", "folder for the data")
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	for s := range strings.SplitSeq(*ports, ",") {
		port, err := strconv.Atoi(s)
		if err != nil {
			return fmt.Errorf("--ports %q: %w", *ports, err)
		}
		n.ports = append(n.ports, port)
	}
	serve, ok := map[string]func(context.Context, *node) error{"etcd": serveEtcd, "nats": serveNATS, "olric": serveOlric, "echo": serveEcho}[args[0]]
	if !ok {
		return fmt.Errorf("there is no server %q", args[0])
	}
	return serve(ctx, n)
}

// serving says that the node serves, and waits for the end.
func serving(ctx context.Context) {
	fmt.Println("ready")
	<-ctx.Done()
}

// serveEcho sends back what comes.
func serveEcho(ctx context.Context, n *node) error {
	l, err := net.Listen("tcp", at(n.ports[0]))
	if err != nil {
		return err
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				stop := context.AfterFunc(ctx, func() { c.Close() })
				defer stop()
				_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) // no splice: as a server does it
			})
		}
	})
	serving(ctx)
	err = l.Close()
	conns.Wait()
	return err
}
