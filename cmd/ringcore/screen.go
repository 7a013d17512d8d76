package main

import (
	"bytes"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Keys that are no letters.
const (
	keyInterrupt = '\x03'
	keyLeft      = '\ue000' // a private place of Unicode: no key sends it
	keyRight     = '\ue001'
)

// screen is a terminal that a command has for itself, until close gives it back as it was.
type screen struct {
	in, out *os.File
	before  unix.Termios
	keys    chan rune      // what is pressed
	resized chan os.Signal // the terminal has another size

	closing atomic.Bool
	stop    chan struct{}
	reader  sync.WaitGroup
}

// openScreen takes the terminal: keys come one by one and are not shown, what was on it is kept.
func openScreen(in, out *os.File) (*screen, error) {
	before, err := unix.IoctlGetTermios(int(in.Fd()), getTermios)
	if err != nil {
		return nil, err
	}
	raw := *before
	raw.Lflag &^= unix.ICANON | unix.ECHO | unix.ISIG | unix.IEXTEN
	raw.Iflag &^= unix.IXON | unix.ICRNL
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 0, 1 // a read ends after 0.1 s, so that its goroutine can end
	if err := unix.IoctlSetTermios(int(in.Fd()), setTermios, &raw); err != nil {
		return nil, err
	}
	s := &screen{in: in, out: out, before: *before, keys: make(chan rune), resized: make(chan os.Signal, 1), stop: make(chan struct{})}
	signal.Notify(s.resized, syscall.SIGWINCH)
	s.reader.Go(s.read)
	_, err = out.WriteString("\x1b[?1049h\x1b[?25l") // another screen, no cursor
	if err != nil {
		s.close()
	}
	return s, err
}

// close gives the terminal back, and waits for the goroutine that reads keys.
func (s *screen) close() {
	s.closing.Store(true)
	close(s.stop)
	s.reader.Wait()
	signal.Stop(s.resized)
	_, _ = s.out.WriteString("\x1b[?25h\x1b[?1049l") // if it is gone there is nobody to tell
	_ = unix.IoctlSetTermios(int(s.in.Fd()), setTermios, &s.before)
}

// size is the terminal's, or that of an old one if it does not say.
func (s *screen) size() (width, height int) {
	w, err := unix.IoctlGetWinsize(int(s.out.Fd()), unix.TIOCGWINSZ)
	if err != nil || w.Col == 0 || w.Row == 0 {
		return 80, 24
	}
	return int(w.Col), int(w.Row)
}

// draw shows a frame in the place of the one before, in one write so that it does not flicker.
func (s *screen) draw(frame []string) {
	var b bytes.Buffer
	b.WriteString("\x1b[H")
	for i, line := range frame {
		if i > 0 {
			b.WriteString("\r\n")
		}
		if rest, header := bytes.CutPrefix([]byte(line), []byte("\t")); header {
			b.WriteString("\x1b[7m")
			b.Write(rest)
			b.WriteString("\x1b[0m")
		} else {
			b.WriteString(line)
		}
		b.WriteString("\x1b[K")
	}
	b.WriteString("\x1b[J")
	_, _ = s.out.Write(b.Bytes()) // if the terminal is gone, SIGHUP ends this process
}

// read hands out what is pressed until close.
func (s *screen) read() {
	buf := make([]byte, 64)
	for !s.closing.Load() {
		n, err := unix.Read(int(s.in.Fd()), buf)
		if err != nil && err != unix.EINTR && err != unix.EAGAIN {
			return
		}
		for _, k := range keysIn(buf[:max(n, 0)]) {
			select {
			case s.keys <- k:
			case <-s.stop:
				return
			}
		}
	}
}

// keysIn are the keys in what a terminal sent. Sequences but those of the arrows are left out.
func keysIn(b []byte) (keys []rune) {
	for len(b) > 0 {
		if len(b) > 2 && b[0] == '\x1b' && (b[1] == '[' || b[1] == 'O') {
			end := 2
			for end < len(b)-1 && (b[end] < '@' || b[end] > '~') {
				end++
			}
			switch string(b[2 : end+1]) {
			case "D":
				keys = append(keys, keyLeft)
			case "C":
				keys = append(keys, keyRight)
			}
			b = b[end+1:]
			continue
		}
		keys = append(keys, rune(b[0]))
		b = b[1:]
	}
	return keys
}
