//go:build nonats

package main

import (
	"context"
	"errors"
)

func natsSystem() system {
	return system{name: "nats", title: "NATS 2.15 JetStream KV R3", missing: "its Go modules are not there"}
}

func serveNATS(context.Context, *node) error { return errors.New("built without NATS") }
