//go:build noolric

package main

import (
	"context"
	"errors"
)

func olricSystem() system {
	return system{name: "olric", title: "olric 0.7, 3 nodes, N=3 W=2 R=2, memory only", missing: "its Go modules are not there"}
}

func serveOlric(context.Context, *node) error { return errors.New("built without olric") }
