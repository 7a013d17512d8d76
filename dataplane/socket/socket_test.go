package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// pair is a connection, and its other end as the system has it.
func pair(t *testing.T) (*Conn, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // both ends are there by then
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	other, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Close(), other.Close() })
	return Direct(c).(*Conn), other.(*net.TCPConn)
}

// Only connections of the system are read directly, and those once.
func TestDirect(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if Direct(a) != a {
		t.Error("a pipe is none of the system's")
	}
	if c, _ := pair(t); Direct(c) != c {
		t.Error("a connection was wrapped twice")
	}
}

// A read waits for what comes, and ends as that of any connection does.
func TestRead(t *testing.T) {
	c, other := pair(t)
	b := make([]byte, 10)
	read := make(chan error, 1)
	go func() { _, err := io.ReadFull(c, b[:5]); read <- err }()
	for _, part := range []string{"he", "llo"} {
		if _, err := other.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-read; err != nil || string(b[:5]) != "hello" {
		t.Fatalf("%q, %v", b[:5], err)
	}
	if n, err := c.Read(nil); n != 0 || err != nil {
		t.Errorf("into nothing: %d, %v", n, err)
	}
	_ = c.SetReadDeadline(time.Now())
	if _, err := c.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("past the deadline: %v", err)
	}
	_ = c.SetReadDeadline(time.Time{})
	_ = other.CloseWrite()
	if _, err := c.Read(b); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	_ = c.Close()
	if _, err := c.Read(b); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// Close wakes who reads, and a reset is told by its name.
func TestReadEnds(t *testing.T) {
	c, _ := pair(t)
	read := make(chan error, 1)
	go func() { _, err := c.Read(make([]byte, 1)); read <- err }()
	_ = c.Close()
	if err := <-read; !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed while reading: %v", err)
	}
	c, other := pair(t)
	_ = other.SetLinger(0)
	_ = other.Close()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reset: %v", err)
	}
}

// TryWrite takes what the kernel has room for, and Write waits for the rest; two that
// write at a time do not mix.
func TestWrite(t *testing.T) {
	c, other := pair(t)
	long := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	n := c.TryWrite(long)
	if n == 0 || n == len(long) {
		t.Fatalf("the kernel took %d bytes of %d that nobody reads", n, len(long))
	}
	if m := c.TryWrite(long[:1<<20]); m == 1<<20 {
		t.Fatal("there was room after all")
	} else {
		n += m
	}
	var both sync.WaitGroup
	for _, b := range []byte{'x', 'y'} {
		both.Go(func() {
			if m, err := c.Write(bytes.Repeat([]byte{b}, 4<<20)); m != 4<<20 || err != nil {
				t.Errorf("%d, %v", m, err)
			}
		})
	}
	got := make([]byte, n+8<<20)
	if _, err := io.ReadFull(other, got); err != nil {
		t.Fatal(err)
	}
	both.Wait()
	first, second := got[n], got[n+4<<20]
	if first == second || bytes.Count(got[n:n+4<<20], []byte{first}) != 4<<20 || bytes.Count(got[n+4<<20:], []byte{second}) != 4<<20 {
		t.Error("two writes mixed")
	}
	_ = c.SetWriteDeadline(time.Now())
	if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("past the deadline: %v", err)
	}
	if n := c.TryWrite([]byte("x")); n != 0 {
		t.Errorf("past the deadline: %d bytes went", n)
	}
}
