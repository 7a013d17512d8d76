package client_test

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

// lastWord is a service: it keeps the last word, and answers the one before.
type lastWord struct{}

func (lastWord) Command(tx *ringcore.Tx, word []byte) ([]byte, error) {
	old, _ := tx.Get(tx.Key())
	tx.Put(tx.Key(), word)
	return old, nil
}

// serve runs a node for an example, and returns its address.
func serve() (addr string, stop func()) {
	dir, err := os.MkdirTemp("", "ringcore-example-")
	if err != nil {
		log.Fatal(err)
	}
	node, err := ringcore.Open(context.Background(), ringcore.Config{
		Dir: dir, Name: "n1", Addr: "127.0.0.1:0", HTTPAddr: "off", RESPAddr: "off", Storage: "memory", OneMachine: true,
		Services: []ringcore.Service{{Name: "last", N: 1, New: func(ringcore.Partition) ringcore.Vnode { return lastWord{} }}},
		Logger:   slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	return node.Info().Addr, func() {
		if err := errors.Join(node.Close(), os.RemoveAll(dir)); err != nil {
			log.Fatal(err)
		}
	}
}

// A client knows the ring: a request goes straight to a node that holds its key.
func Example() {
	addr, stop := serve()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(ctx, client.Config{Addrs: []string{addr}}) // any members; it learns the rest
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	key := []byte("hello")
	fmt.Println(c.Put(ctx, "greetings", key, []byte("world"), client.WriteOptions{}))
	obj, err := c.Get(ctx, "greetings", key, client.ReadOptions{R: client.Majority})
	fmt.Printf("%s %v\n", obj.Value, err)
	err = c.Put(ctx, "greetings", key, []byte("moon"), client.WriteOptions{IfAbsent: true})
	fmt.Println(errors.Is(err, client.ErrConflict))
	_, err = c.Get(ctx, "greetings", []byte("bye"), client.ReadOptions{})
	fmt.Println(errors.Is(err, client.ErrNotFound))
	// Output:
	// <nil>
	// world <nil>
	// true
	// true
}

// Services of one's own are called by name.
func ExampleClient_Command() {
	addr, stop := serve()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(ctx, client.Config{Addrs: []string{addr}})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	for _, word := range []string{"one", "two"} {
		before, err := c.Command(ctx, "last", client.Call{Key: []byte("k"), Body: []byte(word)})
		fmt.Printf("%q %v\n", before, err)
	}
	// Output:
	// "" <nil>
	// "one" <nil>
}

// A listing hands over one key at a time, and says whether it is whole.
func ExampleClient_Keys() {
	addr, stop := serve()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(ctx, client.Config{Addrs: []string{addr}})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	for _, word := range []string{"a", "b", "c"} {
		if err := c.Put(ctx, "words", []byte(word), nil, client.WriteOptions{}); err != nil {
			fmt.Println(err)
		}
	}
	n := 0
	all, err := c.Keys(ctx, "words", client.CoverOptions{}, func(*client.Item) error { n++; return nil })
	fmt.Println(n, all.Complete, err)
	// Output: 3 true <nil>
}
