//go:build unix

package vnodes

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// The soak kills a process that writes to a Disk, at a random moment, again and
// again on one directory. The next process first compares what it finds with a
// notebook that outlives its writer: memory shared with a file, so that an
// acknowledgement is noted once it was given, and never lost. This is the process's
// death, which the page cache outlives; the machine's is simDisk's.
//
// RINGCORE_SOAK_ROUNDS is how many processes die, RINGCORE_SOAK_DIR where, if what is
// left is to be looked at afterwards.

const soakRounds = 12 // in the normal tests

// soakProcess is a writer, as its parent sees it.
type soakProcess struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines *bufio.Scanner // its standard output
	stdin io.Closer      // closed: it stops cleanly
	out   bytes.Buffer   // what else it has printed
	err   bytes.Buffer   // its standard error
}

func (p *soakProcess) said() string { return p.out.String() + p.err.String() }

func startSoak(t *testing.T, dir string) *soakProcess {
	t.Helper()
	p := &soakProcess{t: t, cmd: exec.Command(os.Args[0], "-test.run=^TestSoakWriter$")}
	p.cmd.Env = append(os.Environ(), "RINGCORE_SOAK_WRITER="+dir)
	p.cmd.Stderr = &p.err
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	p.lines = bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// awaitVerified waits until the writer has found everything in order.
func (p *soakProcess) awaitVerified() {
	p.t.Helper()
	for p.lines.Scan() {
		if p.lines.Text() == soakVerified {
			return
		}
		fmt.Fprintln(&p.out, p.lines.Text())
	}
	p.t.Fatalf("the writer ended: %v\n%s", p.cmd.Wait(), p.said())
}

// drain reads what the writer prints until it has ended.
func (p *soakProcess) drain() {
	for p.lines.Scan() {
		fmt.Fprintln(&p.out, p.lines.Text())
	}
}

// kill ends the writer as a crash would; it must not have ended before.
func (p *soakProcess) kill() {
	p.t.Helper()
	_ = p.cmd.Process.Kill()
	p.drain()
	err := p.cmd.Wait()
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
		p.t.Fatalf("the writer ended by itself: %v\n%s", err, p.said())
	}
}

// stop lets the writer close its disk.
func (p *soakProcess) stop() {
	p.t.Helper()
	_ = p.stdin.Close()
	p.drain()
	if err := p.cmd.Wait(); err != nil {
		p.t.Fatalf("the writer did not stop cleanly: %v\n%s", err, p.said())
	}
}

// await waits until as many batches are acknowledged.
func (b *notebook) await(t *testing.T, acked int64) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for b.acked.Load() < acked {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%d batches are acknowledged after a minute, not %d", b.acked.Load(), acked)
		}
	}
}

// Nothing acknowledged is lost, no batch is half there, nothing deleted is back,
// whenever the process dies: while it writes, checkpoints, makes and drops stores,
// and while it starts.
func TestSoakKill(t *testing.T) {
	rounds := soakRounds
	if s := os.Getenv("RINGCORE_SOAK_ROUNDS"); s != "" {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	dir := os.Getenv("RINGCORE_SOAK_DIR")
	if dir == "" {
		dir = t.TempDir()
	}
	book := openNotebook(t, filepath.Join(dir, "notebook"))
	early, clean := 0, 0
	for range rounds {
		p := startSoak(t, dir)
		switch n := rand.IntN(10); {
		case n < 2: // while it starts
			early++
			<-time.After(rand.N(40 * time.Millisecond)) // a random moment, not a wait for something
			p.kill()
		case n < 3:
			clean++
			p.awaitVerified()
			p.stop()
		default:
			p.awaitVerified()
			book.await(t, book.acked.Load()+rand.Int64N(40)) // also on a slow disk
			<-time.After(rand.N(200 * time.Millisecond))     // a random moment, not a wait for something
			p.kill()
		}
	}
	p := startSoak(t, dir)
	p.awaitVerified()
	p.stop()
	t.Logf("%d rounds, %d of them killed while starting, %d stopped cleanly: %d batches acknowledged, %d stores verified, %d made, %d renamed, %d dropped, %d opened again, %d files copied",
		rounds, early, clean, book.acked.Load(), book.verified.Load(), book.made.Load(), book.renamed.Load(), book.dropped.Load(), book.reopened.Load(), book.copied.Load())
	if book.acked.Load() < int64(rounds) || book.verified.Load() < int64(rounds) || rounds > 50 && book.copied.Load() == 0 {
		t.Error("that is too little to prove anything")
	}
}
