package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/ringcore/ringcore/client"
)

// A batch is many requests of one caller at once. Each key has an outcome of its own.
func ExampleClient_GetMany() {
	addr, stop := serve()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(ctx, client.Config{Addrs: []string{addr}})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	err = c.PutMany(ctx, "stock", []client.Write{
		{Key: []byte("apples"), Value: []byte("3")},
		{Key: []byte("pears"), Value: []byte("5")},
		{Key: []byte(""), Value: []byte("7")},
	}, client.WriteOptions{})
	if batch, ok := errors.AsType[*client.BatchError](err); ok {
		for i, err := range batch.Errs { // in the order of the writes
			if err != nil {
				fmt.Println("number", i, "failed:", err)
			}
		}
	}
	keys := [][]byte{[]byte("apples"), []byte("pears"), []byte("plums")}
	results, err := c.GetMany(ctx, "stock", keys, client.ReadOptions{})
	fmt.Println(err) // that there is nothing is no failure
	for i, r := range results {
		fmt.Printf("%s: %q, %v\n", keys[i], r.Value, errors.Is(r.Err, client.ErrNotFound))
	}
	// Output:
	// number 2 failed: bad_request: the key is empty
	// <nil>
	// apples: "3", false
	// pears: "5", false
	// plums: "", true
}

// Within a Session one replica's answer is enough to see what one has written.
func ExampleClient_Session() {
	addr, stop := serve()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(ctx, client.Config{Addrs: []string{addr}})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	s := c.Session() // one for each of your users, say
	if err := s.Put(ctx, "carts", []byte("ann"), []byte("milk"), client.WriteOptions{}); err != nil {
		log.Fatal(err)
	}
	cart, err := s.Get(ctx, "carts", []byte("ann"), client.ReadOptions{R: client.One})
	fmt.Printf("%s %v\n", cart.Value, err)
	// Output: milk <nil>
}
