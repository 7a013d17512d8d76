package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lan is a network of places, each a network namespace with one TUN device. This
// process carries the packets between them, so that a link can be cut, one way or
// both, or made slow, with nothing but that. Namespaces and devices are gone when
// their last user is: there is nothing to clean up behind a test that dies.
type lan struct {
	t              *testing.T
	subnet         [3]byte
	places         map[byte]*place // by the last byte of the address; complete before anything runs
	links          [256][256]atomic.Int64
	dropped        atomic.Int64
	carriers, late sync.WaitGroup
}

// cut is a link that loses everything; any other number is its delay.
const cut = int64(-1)

const (
	lanMTU   = 60000 // few large packets: each costs this process two calls
	lanQueue = 20000 // packets that a device holds for us before it loses some
	lanHome  = 1     // the place of the test itself, in the namespace of the machine
)

// place is one end of the network.
type place struct {
	addr  netip.Addr
	space *os.File // the namespace; nil at home
	tun   *os.File
	late  chan latePacket
}

type latePacket struct {
	due  time.Time
	data []byte
}

// newLAN makes a network with a place for each of hosts, and home.
func newLAN(t *testing.T, hosts ...byte) *lan {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces are made, which takes root")
	}
	l := &lan{t: t, subnet: [3]byte{198, 18, byte(os.Getpid())}, places: map[byte]*place{}} // RFC 2544: for tests of networks
	t.Cleanup(l.close)
	for _, host := range append([]byte{lanHome}, hosts...) {
		p, err := l.place(host)
		if err != nil {
			t.Skipf("no network can be made here: %v", err)
		}
		l.places[host] = p
	}
	for host, p := range l.places {
		l.carriers.Go(func() { l.carry(host, p) })
		l.late.Go(p.deliverLate)
	}
	return l
}

// place makes the place of host. The thread that enters a namespace is never used again.
func (l *lan) place(host byte) (p *place, err error) {
	p = &place{addr: netip.AddrFrom4([4]byte{l.subnet[0], l.subnet[1], l.subnet[2], host}), late: make(chan latePacket, lanQueue)}
	if host == lanHome {
		p.tun, err = tunDevice(p.addr)
		return p, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return
		}
		if p.space, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return
		}
		p.tun, err = tunDevice(p.addr)
	}()
	<-done
	return p, err
}

// tunDevice makes a device with addr in the namespace of this thread, and brings up loopback.
func tunDevice(addr netip.Addr) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	name := fmt.Sprintf("rc%d", os.Getpid())
	dev, err := unix.NewIfreq(name)
	if err != nil {
		return nil, err
	}
	dev.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, dev); err != nil {
		return nil, fmt.Errorf("make a TUN device: %w", err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(s)
	set := func(dev string, request uint, fill func(*unix.Ifreq) error) {
		ifr, e := unix.NewIfreq(dev)
		if e == nil {
			e = fill(ifr)
		}
		if e == nil {
			e = unix.IoctlIfreq(s, request, ifr)
		}
		err = errors.Join(err, e)
	}
	number := func(n uint32) func(*unix.Ifreq) error {
		return func(r *unix.Ifreq) error { r.SetUint32(n); return nil }
	}
	up := func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }
	set(name, unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(addr.AsSlice()) })
	set(name, unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) })
	set(name, unix.SIOCSIFMTU, number(lanMTU))
	set(name, unix.SIOCSIFTXQLEN, number(lanQueue))
	set(name, unix.SIOCSIFFLAGS, up)
	set("lo", unix.SIOCSIFFLAGS, up)
	return os.NewFile(uintptr(fd), "tun"), err
}

// carry takes what host sends to where it is addressed.
func (l *lan) carry(host byte, p *place) {
	buf := make([]byte, lanMTU)
	for {
		n, err := p.tun.Read(buf)
		if err != nil {
			return // closed
		}
		packet := buf[:n]
		if n < 20 || packet[0]>>4 != 4 || [3]byte(packet[16:19]) != l.subnet {
			continue // multicast and the like
		}
		to := l.places[packet[19]]
		if to == nil {
			continue
		}
		switch link := l.links[host][packet[19]].Load(); {
		case link == cut:
			l.dropped.Add(1)
		case link > 0:
			select {
			case to.late <- latePacket{time.Now().Add(time.Duration(link)), append([]byte(nil), packet...)}:
			default: // a slow link that is full loses packets
				l.dropped.Add(1)
			}
		default:
			_, _ = to.tun.Write(packet) // a full queue loses it, as networks do
		}
	}
}

// deliverLate delivers what came over slow links. All have one delay, so packets
// leave in the order in which they came.
func (p *place) deliverLate() {
	for packet := range p.late {
		time.Sleep(time.Until(packet.due))
		_, _ = p.tun.Write(packet.data)
	}
}

// set makes the link from one place to another cut, or so many nanoseconds slow; 0
// is a good one.
func (l *lan) set(from, to byte, state int64) { l.links[from][to].Store(state) }

// spawn starts cmd at a place.
func (l *lan) spawn(host byte) func(*exec.Cmd) error {
	return func(cmd *exec.Cmd) error {
		started := make(chan error, 1)
		go func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
			if err := unix.Setns(int(l.places[host].space.Fd()), unix.CLONE_NEWNET); err != nil {
				started <- err
				return
			}
			started <- cmd.Start()
		}()
		return <-started
	}
}

func (l *lan) addr(host byte, port int) string {
	return netip.AddrPortFrom(l.places[host].addr, uint16(port)).String()
}

func (l *lan) close() {
	for _, p := range l.places {
		_ = p.tun.Close()
		if p.space != nil {
			_ = p.space.Close()
		}
	}
	l.carriers.Wait()
	for _, p := range l.places {
		close(p.late) // nobody sends to it any more
	}
	l.late.Wait()
}
