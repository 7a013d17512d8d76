package dataplane

import (
	"io"
	"net"
	"syscall"
)

// socketOf is the system's connection under c; nil if there is none.
func socketOf(c net.Conn) syscall.RawConn {
	if t, ok := c.(*tracked); ok {
		c = t.Conn
	}
	if s, ok := c.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

// incoming reads a connection. One goroutine at a time may use it.
type incoming struct {
	raw   syscall.RawConn
	get   func(fd uintptr) bool // reads into the present buffer, once
	buf   []byte
	n     int
	errno syscall.Errno
}

// readerOf reads c.
func readerOf(c net.Conn) io.Reader {
	raw := socketOf(c)
	if raw == nil {
		return c
	}
	r := &incoming{raw: raw}
	r.get = r.getOnce
	return r
}

func (r *incoming) Read(p []byte) (int, error) {
	r.buf = p
	err := r.raw.Read(r.get)
	r.buf = nil
	switch {
	case err != nil:
		return 0, err
	case r.errno != 0:
		return 0, r.errno
	case r.n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return r.n, nil
}

// getOnce reports whether there is no need to wait: the kernel had something to tell.
func (r *incoming) getOnce(fd uintptr) bool {
	for {
		r.n, r.errno = readNow(fd, r.buf)
		if r.errno != syscall.EINTR {
			return r.errno != syscall.EAGAIN
		}
	}
}
