// Package client is the Go client of a Ringcore cluster. It knows the ring, so
// that a request goes straight to a node that holds its key.
//
//	c, err := client.Open(ctx, client.Config{Addrs: []string{"127.0.0.1:7400"}})
//	err = c.Put(ctx, "bucket", []byte("key"), value, client.WriteOptions{})
//	obj, err := c.Get(ctx, "bucket", []byte("key"), client.ReadOptions{})
//	defer c.Close()
//
// A [Client] keeps one connection to each node that it talks to, shared by all
// callers, and learns members and ring from any node, again whenever an answer
// names a newer ring. Get, Put, Delete, Keys, Values, Clear and Ping speak to the
// key/value service; Command, Query and Cover to any service of your own.
//
// GetMany and PutMany are many requests at once, for a fraction of the cost. A [Session]
// reads its own writes, whatever replica answers.
//
// # Trying again
//
// A request that surely did not run is tried again until its deadline, at other
// nodes if need be. So is one that may have run, if running it twice does no
// harm: queries, and blind writes, which carry the same id in every try. Any
// other ends with ErrMaybe.
//
// A query that a node takes long for is sent to another one as well, and the first answer
// counts. A node of which nothing is heard for most of a second is given up, and asked
// again when it answers.
//
// The goroutines of a Client, one that learns, one that tends the connections, two for
// each of these, and one for each probe or second try, end in Close; those of a batch, for
// keys that its first tries have not settled, end with it. The package stands on the pure floor: it shares no code with the node but
// the ring, the frames and the key/value service's encoding.
package client
