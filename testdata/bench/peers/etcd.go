//go:build !noetcd

package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/ringcore/ringcore/client/load"
)

func etcdSystem() system {
	return system{name: "etcd", rival: true, title: "etcd 3.7, 3 nodes, fsync; linearizable gets", start: startEtcd}
}

func serveEtcd(ctx context.Context, n *node) error {
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir, cfg.LogLevel = fmt.Sprint("n", n.number), n.dir, "error"
	peer := func(node int) url.URL { return url.URL{Scheme: "http", Host: at(n.port(0, node))} }
	cfg.ListenPeerUrls = []url.URL{peer(n.number)}
	cfg.AdvertisePeerUrls = cfg.ListenPeerUrls
	cfg.ListenClientUrls = []url.URL{{Scheme: "http", Host: at(n.port(1, n.number))}}
	cfg.AdvertiseClientUrls = cfg.ListenClientUrls
	var all []string
	for i := range 3 {
		u := peer(i)
		all = append(all, fmt.Sprintf("n%d=%s", i, u.String()))
	}
	cfg.InitialCluster = strings.Join(all, ",")
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	defer e.Close()
	select {
	case <-e.Server.ReadyNotify():
	case err := <-e.Err():
		return err
	}
	serving(ctx)
	return nil
}

func startEtcd(ctx context.Context, dir string) (*cluster, error) {
	procs, ports, err := peerNodes(ctx, "etcd", dir, 2)
	return finish(procs, err, func(c *cluster) error {
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{at(ports[3]), at(ports[4]), at(ports[5])}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
		if err != nil {
			return err
		}
		c.close = func() { client.Close() }
		t := load.Target{
			Put: func(ctx context.Context, _ int, key, value []byte) error {
				_, err := client.Put(ctx, string(key), string(value))
				return err
			},
			Get: func(ctx context.Context, _ int, key []byte) error {
				r, err := client.Get(ctx, string(key))
				if err == nil && len(r.Kvs) != 1 {
					err = errMissing
				}
				return err
			},
		}
		c.operations = putGet(t)
		return until(ctx, "etcd takes a put", func(ctx context.Context) bool { return t.Put(ctx, 0, []byte("k"), []byte("v")) == nil })
	})
}
