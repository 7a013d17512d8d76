// Package socket reads and writes connections of the system without telling Go's
// scheduler. The calls never wait, so it need not hear of them; but each call that it
// hears of while nothing else runs wakes its watchdog (sysmon), which then looks every
// few ten microseconds whether a call takes long. In a process that is woken some
// thousand times a second, for a few microseconds each, that was a third of all CPU.
package socket

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// piece is the most that one system call moves: it holds up the goroutines of one
// processor, and garbage collection, for as long as copying that takes.
const piece = 128 << 10

// Conn is a connection of the system. Its methods may be called as those of any [net.Conn].
type Conn struct {
	net.Conn
	raw     syscall.RawConn
	in, out half
}

// half is one direction of a Conn.
type half struct {
	mu    sync.Mutex            // held over a call, also while it waits to read
	move  func(fd uintptr) bool // moves what fits of b, once; true if it is not to wait
	b     []byte
	n     int
	errno syscall.Errno
}

// Direct is c as a *Conn, or c itself if it is none of the system's.
func Direct(c net.Conn) net.Conn {
	s, ok := c.(syscall.Conn)
	if !ok {
		return c
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return c
	}
	k := &Conn{Conn: c, raw: raw}
	k.in.move, k.out.move = k.in.read, k.out.write
	return k
}

// Read is net.Conn's.
func (k *Conn) Read(p []byte) (int, error) {
	k.in.mu.Lock()
	defer k.in.mu.Unlock()
	k.in.b = p[:min(len(p), piece)]
	err := k.raw.Read(k.in.move)
	k.in.b = nil
	switch {
	case err != nil:
		return 0, err
	case k.in.errno != 0:
		return 0, &net.OpError{
			Op: "read", Net: k.LocalAddr().Network(), Source: k.LocalAddr(), Addr: k.RemoteAddr(),
			Err: os.NewSyscallError("read", k.in.errno),
		}
	case k.in.n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return k.in.n, nil
}

// Write is net.Conn's.
func (k *Conn) Write(p []byte) (int, error) {
	k.out.mu.Lock()
	defer k.out.mu.Unlock()
	n := k.tryLocked(p)
	if n == len(p) {
		return n, nil
	}
	m, err := k.Conn.Write(p[n:])
	return n + m, err
}

// TryWrite writes what the kernel takes at once, and returns how much that was: nothing
// also if it fails, which Write will tell. It waits for nobody but a Write under way.
func (k *Conn) TryWrite(p []byte) int {
	k.out.mu.Lock()
	defer k.out.mu.Unlock()
	return k.tryLocked(p)
}

func (k *Conn) tryLocked(p []byte) int {
	k.out.b, k.out.n = p, 0
	_ = k.raw.Write(k.out.move)
	k.out.b = nil
	return k.out.n
}

func (h *half) read(fd uintptr) bool {
	for {
		h.n, h.errno = readNow(fd, h.b)
		if h.errno != syscall.EINTR {
			return h.errno != syscall.EAGAIN
		}
	}
}

func (h *half) write(fd uintptr) bool {
	for h.n < len(h.b) {
		next := h.b[h.n:min(len(h.b), h.n+piece)]
		n, errno := writeNow(fd, next)
		if h.n += n; errno != 0 || n < len(next) {
			break
		}
	}
	return true // whatever came of it: it is not to wait
}
