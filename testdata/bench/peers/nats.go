//go:build !nonats

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ringcore/ringcore/client/load"
)

func natsSystem() system {
	return system{name: "nats", rival: true, title: "NATS 2.15 JetStream KV R3, sync_interval always; gets from any replica", start: startNATS}
}

func serveNATS(ctx context.Context, n *node) error {
	var routes []string
	for i := range 3 {
		routes = append(routes, "nats://"+at(n.port(0, i)))
	}
	s, err := server.NewServer(&server.Options{
		ServerName: fmt.Sprint("n", n.number), Host: "127.0.0.1", Port: n.port(1, n.number),
		JetStream: true, StoreDir: n.dir, SyncAlways: true, NoSigs: true, NoLog: true,
		Cluster: server.ClusterOpts{Name: "peers", Host: "127.0.0.1", Port: n.port(0, n.number)},
		Routes:  server.RoutesFromStr(strings.Join(routes, ",")),
	})
	if err != nil {
		return err
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	if !s.ReadyForConnections(30 * time.Second) {
		return errors.New("nats: not ready for connections after 30 s")
	}
	serving(ctx)
	return nil
}

func startNATS(ctx context.Context, dir string) (*cluster, error) {
	procs, ports, err := peerNodes(ctx, "nats", dir, 2)
	return finish(procs, err, func(c *cluster) error {
		var conns []*nats.Conn
		c.close = func() {
			for _, conn := range conns {
				conn.Close()
			}
		}
		// A connection to each server; callers are spread over them.
		var buckets []jetstream.KeyValue
		for i := range 3 {
			conn, err := nats.Connect("nats://" + at(ports[3+i]))
			if err != nil {
				return err
			}
			conns = append(conns, conn)
			js, err := jetstream.New(conn)
			if err != nil {
				return err
			}
			var kv jetstream.KeyValue
			if err := until(ctx, "nats has a bucket", func(ctx context.Context) bool {
				kv, err = js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "bench", Replicas: 3, Storage: jetstream.FileStorage})
				return err == nil
			}); err != nil {
				return err
			}
			buckets = append(buckets, kv)
		}
		c.operations = putGet(load.Target{
			Put: func(ctx context.Context, caller int, key, value []byte) error {
				_, err := buckets[caller%len(buckets)].Put(ctx, string(key), value)
				return err
			},
			Get: func(ctx context.Context, caller int, key []byte) error {
				_, err := buckets[caller%len(buckets)].Get(ctx, string(key))
				return err
			},
		})
		return nil
	})
}
