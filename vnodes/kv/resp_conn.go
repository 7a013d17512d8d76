package kv

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// Bounds of a group of commands that are read before the first is answered.
const (
	respBatch      = 128
	respBatchBytes = 16 << 20
	respKeepOutput = 64 << 10 // a larger output buffer is not kept
)

// respConn is one client's connection. All fields belong to its goroutine, but
// for those that a running command reads.
type respConn struct {
	srv *respServer
	nc  net.Conn
	r   *bufio.Reader
	id  int64

	batch []*respCall // read and not yet answered
	keys  [][]byte    // getAll's, for use again
	bytes int         // of their arguments
	out   []byte      // answers not yet written

	writeBy time.Time // the deadline for writing: half to one respWriteTimeout ahead

	proto   int    // 2 or 3; changed only by a command that runs alone
	name    string // as proto
	library string // as proto
	quit    bool   // as proto
}

// respCall is one command on its way.
type respCall struct {
	reply
	ctx  context.Context
	conn *respConn
	cmd  *respCommand // nil if there is none of that name
	args [][]byte     // args[0] is its name
}

func newRESPConn(s *respServer, nc net.Conn) *respConn {
	c := &respConn{srv: s, nc: nc, id: s.nextID.Add(1), proto: 2}
	c.r = bufio.NewReaderSize(respInput{c}, respMaxInline)
	return c
}

// respInput reads from the connection after whatever was asked completely has
// been answered: a client may wait for that before it sends more.
type respInput struct{ c *respConn }

func (in respInput) Read(b []byte) (int, error) {
	if err := in.c.answer(); err != nil {
		return 0, err
	}
	return in.c.nc.Read(b)
}

var errQuit = errors.New("the client has said quit")

// serve is the connection's goroutine.
func (c *respConn) serve() error {
	err := c.read()
	if broken, ok := errors.AsType[*errRESP](err); ok && c.answer() == nil {
		r := reply{b: c.out, proto: c.proto}
		r.error("ERR " + broken.Error())
		c.out = r.b
		_ = c.write() // the connection ends in any case
	}
	_ = c.nc.Close()
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, errQuit) {
		return nil
	}
	return err
}

func (c *respConn) read() error {
	for {
		args, err := readRESP(c.r)
		if err != nil {
			return err
		}
		if len(args) == 0 {
			continue
		}
		call := &respCall{ctx: c.srv.ctx, conn: c, args: args, cmd: c.srv.command(args[0])}
		c.batch = append(c.batch, call)
		for _, a := range args {
			c.bytes += len(a)
		}
		if len(c.batch) >= respBatch || c.bytes >= respBatchBytes {
			if err := c.answer(); err != nil {
				return err
			}
		}
	}
}

// answer runs the commands read so far and writes their answers, in order.
func (c *respConn) answer() error {
	rest := c.batch
	for len(rest) > 0 && !c.quit {
		n := runnable(rest)
		c.run(rest[:n])
		rest = rest[n:]
	}
	clear(c.batch)
	c.batch, c.bytes = c.batch[:0], 0
	if err := c.write(); err != nil {
		return err
	}
	if c.quit {
		return errQuit
	}
	return nil
}

func (c *respConn) write() error {
	if len(c.out) == 0 {
		return nil
	}
	var err error
	if now := time.Now(); c.writeBy.Sub(now) < respWriteTimeout/2 { // not for each write: it costs
		c.writeBy = now.Add(respWriteTimeout)
		err = c.nc.SetWriteDeadline(c.writeBy)
	}
	if err == nil {
		_, err = c.nc.Write(c.out)
	}
	c.out = c.out[:0]
	if cap(c.out) > respKeepOutput {
		c.out = nil
	}
	return err
}

// runnable is how many of the calls may run at once: up to the first that must
// run alone, or that touches a key which another before it touches, unless both
// only read it.
func runnable(calls []*respCall) int {
	if len(calls) == 1 || calls[0].access() == respAlone {
		return 1
	}
	if !slices.ContainsFunc(calls, func(c *respCall) bool { return c.access() != respRead }) {
		return len(calls)
	}
	written := map[string]bool{} // keys touched so far; true if written
	for i, call := range calls {
		access := call.access()
		if access == respAlone {
			return i
		}
		for key := range call.keys() {
			if wrote, seen := written[string(key)]; seen && (wrote || access == respWrite) {
				return i
			}
		}
		for key := range call.keys() {
			written[string(key)] = access == respWrite
		}
	}
	return len(calls)
}

// run runs calls at once, waits for them and collects their answers. Plain reads, which
// a pipeline mostly has, go together; each of the others has a goroutine of its own.
func (c *respConn) run(calls []*respCall) {
	c.srv.served.Add(int64(len(calls)))
	var gets, others []*respCall
	for i, call := range calls {
		switch {
		case call.isGet() && i == len(gets):
			gets = calls[:i+1]
		case call.isGet():
			gets = append(gets[:len(gets):len(gets)], call)
		default:
			others = append(others, call)
		}
	}
	if len(others) == 0 {
		c.getAll(gets, true)
		return
	}
	if len(calls) == 1 {
		call := calls[0]
		call.reply = reply{b: c.out, proto: c.proto}
		call.do()
		c.out = call.b
		return
	}
	var wg sync.WaitGroup
	for _, call := range others {
		call.proto = c.proto
		wg.Go(call.do)
	}
	c.getAll(gets, false)
	wg.Wait()
	for _, call := range calls {
		c.out = append(c.out, call.b...)
	}
}

// isGet reports whether the call is a well-formed GET.
func (c *respCall) isGet() bool {
	return c.cmd != nil && c.cmd.name == "get" && c.cmd.takes(len(c.args))
}

// getAll runs GETs, as many at a time as the server has slots to spare, and one in any
// case. The answers are left in the calls, or go behind those of the connection.
func (c *respConn) getAll(calls []*respCall, direct bool) {
	keys := c.keys[:0]
	for len(calls) > 0 {
		slots := c.srv.slots
		select {
		case slots <- struct{}{}:
		case <-c.srv.ctx.Done(): // the connection is about to be closed: this ends at once
			slots = nil
		}
		keys = append(keys[:0], calls[0].args[1])
	more:
		for len(keys) < len(calls) && slots != nil {
			select {
			case slots <- struct{}{}:
				keys = append(keys, calls[len(keys)].args[1])
			default:
				break more
			}
		}
		c.srv.kv.GetAll(c.srv.ctx, codec.DefaultBucket, keys, Options{}, func(i int, obj Object, err error) {
			call := calls[i]
			call.proto = c.proto
			if direct {
				call.b = c.out
			}
			switch {
			case err == nil:
				call.value(&obj)
			case errors.Is(err, ErrNotFound):
				call.null()
			default:
				call.fail(err)
			}
			if direct {
				c.out = call.b
			}
		})
		for range keys {
			if slots != nil {
				<-slots
			}
		}
		calls = calls[len(keys):]
	}
	clear(keys)
	c.keys = keys
}
