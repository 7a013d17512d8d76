//go:build !noolric

package main

import (
	"context"
	"io"

	"github.com/olric-data/olric"
	"github.com/olric-data/olric/config"

	"github.com/ringcore/ringcore/client/load"
)

func olricSystem() system {
	return system{name: "olric", title: "olric 0.7, 3 nodes, N=3 W=2 R=2, memory only", start: startOlric}
}

func serveOlric(ctx context.Context, n *node) error {
	cfg := config.New("local")
	cfg.BindAddr, cfg.BindPort = "127.0.0.1", n.port(1, n.number)
	cfg.MemberlistConfig.BindAddr, cfg.MemberlistConfig.BindPort = "127.0.0.1", n.port(0, n.number)
	cfg.MemberlistConfig.AdvertisePort = cfg.MemberlistConfig.BindPort
	for i := range 3 {
		if i != n.number {
			cfg.Peers = append(cfg.Peers, at(n.port(0, i)))
		}
	}
	cfg.ReplicaCount, cfg.WriteQuorum, cfg.ReadQuorum, cfg.MemberCountQuorum = 3, 2, 2, 3
	cfg.ReplicationMode = config.SyncReplicationMode
	cfg.LogOutput, cfg.LogLevel = io.Discard, config.LogLevelError
	up := make(chan struct{})
	cfg.Started = func() { close(up) }
	db, err := olric.New(cfg)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- db.Start() }()
	select {
	case <-up:
		serving(ctx)
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	return db.Shutdown(context.Background())
}

func startOlric(ctx context.Context, dir string) (*cluster, error) {
	procs, ports, err := peerNodes(ctx, "olric", dir, 2)
	return finish(procs, err, func(c *cluster) error {
		client, err := olric.NewClusterClient([]string{at(ports[3]), at(ports[4]), at(ports[5])})
		if err != nil {
			return err
		}
		c.close = func() { client.Close(context.Background()) }
		dm, err := client.NewDMap("bench")
		if err != nil {
			return err
		}
		t := load.Target{
			Put: func(ctx context.Context, _ int, key, value []byte) error { return dm.Put(ctx, string(key), value) },
			Get: func(ctx context.Context, _ int, key []byte) error {
				r, err := dm.Get(ctx, string(key))
				if err == nil {
					_, err = r.Byte()
				}
				return err
			},
		}
		c.operations = putGet(t)
		return until(ctx, "olric has three members", func(ctx context.Context) bool {
			m, err := client.Members(ctx)
			return err == nil && len(m) == 3 && t.Put(ctx, 0, []byte("k"), []byte("v")) == nil
		})
	})
}
