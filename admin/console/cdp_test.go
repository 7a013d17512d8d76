package console_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// browser is a headless Chromium, spoken to over its DevTools protocol: JSON messages with
// a zero byte behind each, on a pair of pipes.
type browser struct {
	t   *testing.T
	cmd *exec.Cmd
	out io.WriteCloser

	mu      sync.Mutex // guards what follows; held to send too
	next    int
	waiting map[int]chan message
	pages   map[string]*page // by session
	gone    error
}

type message struct {
	ID        int             `json:"id,omitempty"`
	SessionID string          `json:"sessionId,omitempty"`
	Method    string          `json:"method,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// chromium is the browser's program; empty if there is none.
func chromium() string {
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			return path
		}
	}
	return ""
}

// openBrowser starts a browser that ends with the test.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	toRead, toWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromRead, fromWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(chromium(), "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--no-default-browser-check", "--disable-background-networking", "--disable-component-update", "--disable-extensions",
		"--hide-scrollbars", "--force-device-scale-factor=1", "--user-data-dir="+t.TempDir(), "about:blank")
	cmd.ExtraFiles = []*os.File{toRead, fromWrite} // its descriptors 3 and 4
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", chromium(), err)
	}
	_, _ = toRead.Close(), fromWrite.Close()
	b := &browser{t: t, cmd: cmd, out: toWrite, waiting: map[int]chan message{}, pages: map[string]*page{}}
	var reading sync.WaitGroup
	reading.Go(func() { b.read(fromRead) })
	t.Cleanup(func() {
		b.call("", "Browser.close", nil, nil) //nolint:errcheck // it may be gone
		_ = toWrite.Close()
		if err := waitOrKill(cmd); err != nil {
			t.Logf("browser: %v", err)
		}
		reading.Wait()
		_ = fromRead.Close()
	})
	return b
}

// waitOrKill waits for a program that was asked to end, for ten seconds.
func waitOrKill(cmd *exec.Cmd) error {
	timer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	return cmd.Wait()
}

func (b *browser) read(from io.Reader) {
	r := bufio.NewReaderSize(from, 1<<20)
	for {
		text, err := r.ReadBytes(0)
		if err != nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.gone = fmt.Errorf("the browser is gone: %w", err)
			for _, ch := range b.waiting {
				close(ch)
			}
			b.waiting = map[int]chan message{}
			return
		}
		var m message
		if err := json.Unmarshal(text[:len(text)-1], &m); err != nil {
			continue
		}
		b.mu.Lock()
		if ch := b.waiting[m.ID]; m.ID != 0 && ch != nil {
			delete(b.waiting, m.ID)
			ch <- m
		} else if p := b.pages[m.SessionID]; p != nil {
			p.heard(&m)
		}
		b.mu.Unlock()
	}
}

// call sends a command and waits for its result.
func (b *browser) call(session, method string, params, result any) error {
	body, err := json.Marshal(params)
	if err != nil {
		return err
	}
	ch := make(chan message, 1)
	b.mu.Lock()
	if b.gone != nil {
		b.mu.Unlock()
		return b.gone
	}
	b.next++
	m := message{ID: b.next, SessionID: session, Method: method}
	if params != nil {
		m.Params = body
	}
	b.waiting[m.ID] = ch
	text, err := json.Marshal(m)
	if err == nil {
		_, err = b.out.Write(append(text, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case answer, ok := <-ch:
		switch {
		case !ok:
			return errors.New("the browser is gone")
		case answer.Error != nil:
			return fmt.Errorf("%s: %s", method, answer.Error.Message)
		case result != nil:
			return json.Unmarshal(answer.Result, result)
		}
		return nil
	case <-time.After(2 * time.Minute):
		return fmt.Errorf("%s: no answer in two minutes", method)
	}
}

// page is one tab.
type page struct {
	t       *testing.T
	b       *browser
	session string

	mu       sync.Mutex
	troubles []string // errors and warnings that the page has reported
}

// open makes a tab and loads url.
func (b *browser) open(t *testing.T, url string) *page {
	t.Helper()
	var target struct{ TargetID string }
	var attached struct{ SessionID string }
	p := &page{t: t, b: b}
	b.must(t, "", "Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	b.must(t, "", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	p.session = attached.SessionID
	b.mu.Lock()
	b.pages[p.session] = p
	b.mu.Unlock()
	for _, domain := range []string{"Runtime", "Log", "Page"} {
		p.do(domain+".enable", nil, nil)
	}
	p.size(1280, 900)
	p.do("Page.navigate", map[string]any{"url": url}, nil)
	t.Cleanup(func() { _ = b.call("", "Target.closeTarget", map[string]any{"targetId": target.TargetID}, nil) })
	return p
}

func (b *browser) must(t *testing.T, session, method string, params, result any) {
	t.Helper()
	if err := b.call(session, method, params, result); err != nil {
		t.Fatal(err)
	}
}

func (p *page) do(method string, params, result any) {
	p.t.Helper()
	p.b.must(p.t, p.session, method, params, result)
}

// heard notes what the page complains of: exceptions, console.error, violations of its
// policy, files that did not come. It runs on the reading goroutine.
func (p *page) heard(m *message) {
	var said string
	switch m.Method {
	case "Runtime.exceptionThrown":
		said = string(m.Params)
	case "Runtime.consoleAPICalled":
		var c struct{ Type string }
		if json.Unmarshal(m.Params, &c); c.Type == "error" || c.Type == "warning" || c.Type == "assert" {
			said = string(m.Params)
		}
	case "Log.entryAdded":
		var e struct {
			Entry struct{ Level, Text, URL string }
		}
		if json.Unmarshal(m.Params, &e); e.Entry.Level == "error" || e.Entry.Level == "warning" {
			said = e.Entry.Text + " " + e.Entry.URL
		}
	}
	if said != "" {
		p.mu.Lock()
		p.troubles = append(p.troubles, said)
		p.mu.Unlock()
	}
}

// quiet fails the test if the page has complained since the last time.
func (p *page) quiet(where string) {
	p.t.Helper()
	for _, said := range p.forget() {
		p.t.Errorf("%s: %s", where, said)
	}
}

// forget returns what the page has complained of, and forgets it.
func (p *page) forget() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	said := p.troubles
	p.troubles = nil
	return said
}

// eval runs an expression in the page and decodes what it comes to.
func (p *page) eval(expression string, result any) {
	p.t.Helper()
	if err := p.try(expression, result); err != nil {
		p.t.Fatal(err)
	}
}

func (p *page) try(expression string, result any) error {
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	err := p.b.call(p.session, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &answer)
	switch {
	case err != nil:
		return err
	case answer.ExceptionDetails != nil:
		return fmt.Errorf("%s: %s", expression, answer.ExceptionDetails.Exception.Description)
	case result == nil || len(answer.Result.Value) == 0:
		return nil
	}
	return json.Unmarshal(answer.Result.Value, result)
}

// until waits until an expression holds in the page.
func (p *page) until(what, expression string) {
	p.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(deadline) {
		var holds bool
		if p.try("!!("+expression+")", &holds); holds {
			return
		}
		<-tick.C
	}
	var text string
	_ = p.try("document.body.innerText", &text)
	p.t.Fatalf("%s: still not after two minutes; the page shows:\n%s", what, text)
}

// shows waits until the page shows some text.
func (p *page) shows(text string) {
	p.t.Helper()
	p.until("shows "+text, "document.body.innerText.includes("+js(text)+")")
}

// find is an expression for the one element of a kind that is seen and says exactly text.
func find(selector, text string) string {
	return fmt.Sprintf(`[...document.querySelectorAll(%s)].filter(e => e.innerText.trim() === %s && e.checkVisibility() && (!document.querySelector("dialog[open]") || e.closest("dialog")))[0]`, js(selector), js(text))
}

// click waits for the element of an expression, and clicks into its midst with a mouse.
func (p *page) click(element string) {
	p.t.Helper()
	p.until("can click "+element, element)
	var at struct{ X, Y float64 }
	p.until("lies bare: "+element, fmt.Sprintf(`(() => { const e = %s; if (!e) return false; e.scrollIntoView({block: "center", behavior: "instant"}); const r = e.getBoundingClientRect();
		const hit = document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2); return hit && (e.contains(hit) || hit.contains(e)); })()`, element))
	p.eval(fmt.Sprintf(`(() => { const r = %s.getBoundingClientRect(); return {X: r.x + r.width / 2, Y: r.y + r.height / 2}; })()`, element), &at)
	for _, kind := range []string{"mouseMoved", "mousePressed", "mouseReleased"} {
		p.do("Input.dispatchMouseEvent", map[string]any{"type": kind, "x": at.X, "y": at.Y, "button": "left", "clickCount": 1}, nil)
	}
}

// press presses a key.
func (p *page) press(key string) {
	p.t.Helper()
	for _, kind := range []string{"keyDown", "keyUp"} {
		p.do("Input.dispatchKeyEvent", map[string]any{"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": map[string]int{"Tab": 9, "Enter": 13, "ArrowRight": 39}[key]}, nil)
	}
}

// fill puts text in the place of what a field has, as somebody who types.
func (p *page) fill(selector, text string) {
	p.t.Helper()
	p.click("document.querySelector(" + js(selector) + ")")
	p.eval("document.querySelector("+js(selector)+").select()", nil)
	p.do("Input.insertText", map[string]any{"text": text}, nil)
}

// size makes the window that large.
func (p *page) size(width, height int) {
	p.t.Helper()
	p.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
}

// colors makes the system one that is light or dark.
func (p *page) colors(scheme string) {
	p.t.Helper()
	p.do("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// shot takes a picture of the window.
func (p *page) shot(path string) {
	p.t.Helper()
	var picture struct{ Data string }
	p.do("Page.captureScreenshot", map[string]any{"format": "png"}, &picture)
	data, err := base64.StdEncoding.DecodeString(picture.Data)
	if err == nil {
		err = os.WriteFile(path, data, 0o644)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// js is a string as JavaScript has it.
func js(s string) string {
	b, _ := json.Marshal(s)
	return strings.ReplaceAll(string(b), "\u2028", `\u2028`)
}
