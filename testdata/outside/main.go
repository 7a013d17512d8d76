// Outside is a module of somebody else's that requires ringcore: it defines a
// vnode, opens a node, sends it a command, and asks the built-in key/value service.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/client"
)

// echo keeps the last word that it was told.
type echo struct{}

func (echo) Command(tx *ringcore.Tx, cmd []byte) ([]byte, error) {
	old, _ := tx.Get(tx.Key())
	tx.Put(tx.Key(), cmd)
	return old, nil
}

func main() {
	dir, err := os.MkdirTemp("", "outside-")
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(run(context.Background(), dir), os.RemoveAll(dir)); err != nil {
		log.Fatal(err)
	}
	fmt.Println("outside: a module that requires ringcore builds and runs")
}

func run(ctx context.Context, dir string) error {
	n, err := ringcore.Open(ctx, ringcore.Config{
		Dir: dir, Addr: "127.0.0.1:0", HTTPAddr: "off", RESPAddr: "off", Logger: slog.New(slog.DiscardHandler),
		Services: []ringcore.Service{{Name: "echo", N: 1, New: func(ringcore.Partition) ringcore.Vnode { return echo{} }}},
	})
	if err != nil {
		return err
	}
	return errors.Join(use(ctx, n), n.Close())
}

func use(ctx context.Context, n *ringcore.Node) error {
	if err := n.Ready(ctx); err != nil {
		return err
	}
	for _, word := range []string{"hello", "world"} {
		old, err := n.Command(ctx, "echo", ringcore.Call{Key: []byte("word"), Body: []byte(word)})
		if err != nil {
			return err
		}
		if word == "world" && string(old) != "hello" {
			return fmt.Errorf("the echo is %q", old)
		}
	}
	c, err := client.Open(ctx, client.Config{Addrs: []string{n.Info().Addr}})
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Put(ctx, "default", []byte("key"), []byte("value"), client.WriteOptions{})
}
