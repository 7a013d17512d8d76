//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/ringcore/ringcore/client/load"
)

const yardFrame = 128 // bytes

// yardstick is what a machine takes for the least that a data path does: frames of many
// callers go over one connection, are hashed, and come back. What an operation of ours costs,
// divided by that, is a number that other machines have too. One goroutine reads at
// each end, one writes.
type yardstick struct {
	conn   net.Conn // the callers' end
	frames chan [yardFrame]byte
	waits  []chan struct{} // by caller
	ends   sync.WaitGroup
	failed chan error // one of each goroutine
}

func newYardstick(t *testing.T, callers int) *yardstick {
	t.Helper()
	y := &yardstick{frames: make(chan [yardFrame]byte, callers), failed: make(chan error, 3)}
	for range callers {
		y.waits = append(y.waits, make(chan struct{}, 1))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if y.conn, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for _, work := range []func() error{func() error { return y.serve(server) }, y.write, y.read} {
		y.ends.Go(func() { y.failed <- work() })
	}
	return y
}

// target makes a get a frame there and back.
func (y *yardstick) target() load.Target {
	return load.Target{Get: func(_ context.Context, caller int, key []byte) error {
		var frame [yardFrame]byte
		binary.BigEndian.PutUint32(frame[:], uint32(caller))
		copy(frame[4:], key)
		y.frames <- frame
		<-y.waits[caller]
		return nil
	}}
}

// close ends the goroutines; nobody may call any more.
func (y *yardstick) close() error {
	close(y.frames)
	y.ends.Wait()
	var err error
	for range cap(y.failed) {
		err = errors.Join(err, <-y.failed)
	}
	return err
}

// write sends what the callers have, as much at a time as there is, until there is no
// more to come.
func (y *yardstick) write() error {
	out := bufio.NewWriterSize(y.conn, 64<<10)
	for frame := range y.frames {
		if _, err := out.Write(frame[:]); err != nil {
			return err
		}
		if len(y.frames) == 0 {
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
	return y.conn.(*net.TCPConn).CloseWrite()
}

// read wakes the callers.
func (y *yardstick) read() error {
	defer y.conn.Close()
	in := bufio.NewReaderSize(y.conn, 64<<10)
	var frame [yardFrame]byte
	for {
		if _, err := io.ReadFull(in, frame[:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		}
		y.waits[binary.BigEndian.Uint32(frame[:])] <- struct{}{}
	}
}

// serve is the other end.
func (y *yardstick) serve(c net.Conn) error {
	defer c.Close()
	in, batch := bufio.NewReaderSize(c, 64<<10), make([]byte, 0, 64<<10)
	var frame [yardFrame]byte
	for {
		if _, err := io.ReadFull(in, frame[:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		}
		sum := sha1.Sum(frame[4:])
		copy(frame[yardFrame-len(sum):], sum[:])
		batch = append(batch, frame[:]...)
		if in.Buffered() >= yardFrame && len(batch) < cap(batch) {
			continue
		}
		if _, err := c.Write(batch); err != nil {
			return err
		}
		batch = batch[:0]
	}
}
