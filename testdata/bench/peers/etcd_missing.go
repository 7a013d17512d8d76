//go:build noetcd

package main

import (
	"context"
	"errors"
)

func etcdSystem() system {
	return system{name: "etcd", title: "etcd 3.7, 3 nodes, fsync", missing: "its Go modules are not there"}
}

func serveEtcd(context.Context, *node) error { return errors.New("built without etcd") }
