// Command ringcore is a node of a Ringcore cluster, a cluster on one machine for
// development, the command line that speaks to a running cluster, and its load
// generator.
//
//	ringcore dev                       three nodes in this process
//	ringcore start --data-dir DIR      one node
//	ringcore kv put KEY VALUE          and get, delete, keys, values, clear; and bucket, for properties
//	ringcore cluster join ADDR         and leave, members, status, ...
//	ringcore ring status               who holds what
//	ringcore repair                    compare every record; and repairs, which lists them
//	ringcore bench                     load, and --check of all answers
//
// Data goes to stdout, notes and progress to stderr. See `ringcore help exit-codes`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}, os.Getenv))
}
