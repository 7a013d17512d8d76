package console_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/vnodes/kv"
)

// needBrowser skips a test that nobody has asked for, and fails it if it was and cannot run.
func needBrowser(t *testing.T) {
	t.Helper()
	switch {
	case os.Getenv("RINGCORE_BROWSER") == "":
		t.Skip("the console in a real browser: make browser")
	case chromium() == "":
		t.Fatal("there is no Chromium: install the package chromium, or name a browser in CHROMIUM")
	}
}

// openNode starts a node that ends with the test.
func openNode(t *testing.T, cfg ringcore.Config) *ringcore.Node {
	t.Helper()
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	cfg.OneMachine = true
	cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	n, err := ringcore.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close %s: %v", cfg.Name, err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := n.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return n
}

func url(n *ringcore.Node) string { return "http://" + n.Info().HTTPAddr + "/" }

// ask posts to a node's API.
func ask(t *testing.T, n *ringcore.Node, path, body string) {
	t.Helper()
	res, err := http.Post(url(n)+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s", path, res.StatusCode, text)
	}
}

// load puts and gets keys at n until the test ends, a few hundred a second.
func load(t *testing.T, nodes ...*ringcore.Node) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for i, n := range nodes {
		for j := range 2 {
			callers.Go(func() {
				tick := time.NewTicker(20 * time.Millisecond)
				defer tick.Stop()
				store := n.KV()
				for k := 0; ; k++ {
					select {
					case <-tick.C:
					case <-ctx.Done():
						return
					}
					key := fmt.Appendf(nil, "user:%d", (k*7919+i*100+j)%2000)
					if k%3 == 0 {
						_ = store.Put(ctx, "default", key, make([]byte, 200+k%400), kv.Options{})
					} else {
						_, _ = store.Get(ctx, "default", key, kv.Options{})
					}
				}
			})
		}
	}
	t.Cleanup(func() { cancel(); callers.Wait() })
}

// fillStore writes n records of size bytes, each until it is written: the cluster is young.
func fillStore(t *testing.T, node *ringcore.Node, n, size int) {
	t.Helper()
	var callers sync.WaitGroup
	for w := range 16 {
		callers.Go(func() {
			for i := w; i < n && t.Context().Err() == nil; {
				if node.KV().Put(t.Context(), "default", fmt.Appendf(nil, "user:%d", i), make([]byte, size), kv.Options{Timeout: 30 * time.Second}) == nil {
					i += 16
				}
			}
		})
	}
	callers.Wait()
}

var pageTitles = []struct{ name, title string }{
	{"overview", "Overview"},
	{"ring", "Ring"},
	{"members", "Members"},
	{"transfers", "Transfers"},
	{"vnodes", "Vnodes"},
	{"metrics", "Metrics"},
	{"buckets", "Buckets"},
	{"explain", "Explain a key"},
	{"logs", "Logs"},
}

// TestConsole drives the console of a live cluster: a node joins under load, by clicks.
func TestConsole(t *testing.T) {
	needBrowser(t)
	n1 := openNode(t, ringcore.Config{Name: "n1"})
	n2 := openNode(t, ringcore.Config{Name: "n2", Join: []string{n1.Info().Addr}})
	n3 := openNode(t, ringcore.Config{Name: "n3", Join: []string{n1.Info().Addr}})
	fillStore(t, n1, 2000, 1000)
	load(t, n1, n2, n3)
	b := openBrowser(t)
	p := b.open(t, url(n1))
	p.shows("All is well")

	t.Run("every page", func(t *testing.T) { everyPage(t, p) })
	n4 := openNode(t, ringcore.Config{Name: "n4"})
	t.Run("join", func(t *testing.T) { join(t, b, p, n1, n4) })
	t.Run("explain", func(t *testing.T) { explain(t, p) })
	t.Run("buckets", func(t *testing.T) { buckets(t, p, n1) })
	t.Run("repair", func(t *testing.T) { repair(t, p) })
	t.Run("keyboard", func(t *testing.T) { keyboard(t, p) })
	t.Run("hostile", func(t *testing.T) { hostile(t, p, n1) })
	t.Run("stale plan", func(t *testing.T) { stale(t, p, n2) })
	t.Run("leave", func(t *testing.T) { leave(t, p, n3) })
	t.Run("gone", func(t *testing.T) { gone(t, b, n2) })
}

// everyPage goes through the pages by their links. None complains, and none is wider than a phone.
func everyPage(t *testing.T, p *page) {
	p.t = t
	for _, x := range pageTitles {
		p.click(`document.querySelector('nav a[href="#/` + x.name + `"]')`)
		p.until("title "+x.title, "document.querySelector('h1').innerText === "+js(x.title)+" && !document.querySelector('.skeleton')")
		p.size(390, 844)
		p.until(x.name+" fits on a phone", "document.documentElement.scrollWidth <= 390")
		p.until(x.name+" has no table that scrolls sideways there", `![...document.querySelectorAll(".table-wrap")].some(e => e.scrollWidth > e.clientWidth + 1)`)
		p.size(1280, 900)
		p.quiet(x.name)
	}
	var violations int
	p.eval(`fetch("/console/app.js").then(r => r.headers.get("Content-Security-Policy").includes("default-src 'self'") ? 0 : 1)`, &violations)
	if violations > 0 {
		t.Error("the console comes without a policy")
	}
}

// join lets n4 become a member from its own console, and commits at another one's.
func join(t *testing.T, b *browser, p *page, n1, n4 *ringcore.Node) {
	ask(t, n1, "v1/transfers/limits", `{"pair":1,"in":2,"out":1,"bytes_out":262144}`) // so that there is something to look at
	at4 := b.open(t, url(n4)+"#/members")
	at4.fill(`input[name="seed"]`, n1.Info().Addr)
	at4.click(find("button", "Stage the join"))
	at4.shows("The join is staged")
	at4.shows("Plan: 1 change staged") // also there, when it has come to know its cluster
	at4.forget()                       // meanwhile it answered 503

	p.t = t
	p.do("Page.bringToFront", nil, nil)
	p.click(`document.querySelector('nav a[href="#/members"]')`)
	p.shows("Plan: 1 change staged")
	p.shows("0 → 16") // owned partitions
	shots(p, "plan", "members", nil)
	p.click(find("button", "Commit the plan"))
	p.shows("Commit this plan?")
	p.click(find("dialog button", "Commit"))
	p.shows("The plan is committed")
	p.click(`document.querySelector('nav a[href="#/transfers"]')`)
	p.until("something moves", `document.querySelector('section[aria-label="Under way"] [role="progressbar"]')`)
	p.quiet("commit")
	for _, x := range pageTitles {
		params := map[string]string{}
		if x.name == "ring" {
			params["p"] = "40"
		}
		shots(p, x.name, x.name, params)
	}
	ask(t, n1, "v1/transfers/limits", `{"reset":true}`)
	p.click(`document.querySelector('nav a[href="#/overview"]')`)
	p.until("n4 has its share", `[...document.querySelectorAll('.node-list li')].some(e => /^n4/.test(e.innerText) && /48 places/.test(e.innerText))`)
	p.quiet("join")
}

// explain looks a key up.
func explain(t *testing.T, p *page) {
	p.t = t
	p.click(`document.querySelector('nav a[href="#/explain"]')`)
	p.fill(`input[name="key"]`, "user:1999")
	p.click(find("button", "Explain"))
	p.shows("The key exists: 3 replicas hold the same version.")
	p.shows("place 2")
	p.fill(`input[name="key"]`, "nobody")
	p.click(find("button", "Explain"))
	p.shows("has ever heard of this key")
	p.quiet("explain")
	shots(p, "explain-key", "explain", map[string]string{"bucket": "default", "key": "user:1999"})
}

// buckets gives a bucket properties, and takes one away again.
func buckets(t *testing.T, p *page, n *ringcore.Node) {
	p.t = t
	p.click(`document.querySelector('nav a[href="#/buckets"]')`)
	p.shows("No bucket has any")
	open := func() {
		p.fill(`input[name="bucket"]`, "a/b")
		p.click(find("button", "Open"))
		p.until("the dialog is open", `document.querySelector("dialog[open] h2")?.innerText === "Bucket a/b"`)
	}
	choose := func(name, value string) {
		p.eval(`(() => { const s = document.querySelector("dialog select[name=`+name+`]"); s.value = `+js(value)+`; s.dispatchEvent(new Event("change", { bubbles: true })); })()`, nil)
	}
	open()
	choose("w", "all")
	choose("siblings", "true")
	p.click(find("dialog button", "Change"))
	p.shows("Bucket a/b is changed.")
	p.until("it is listed", `/a.b/.test(document.querySelector('section[aria-label="Buckets"] tbody')?.innerText) && /all kept/.test(document.querySelector('section[aria-label="Buckets"] tbody').innerText)`)
	if props, err := n.Bucket(t.Context(), "a/b"); err != nil || !props.Siblings || props.W != ringcore.All || props.R != 0 {
		t.Errorf("%+v, %v", props, err)
	}
	shots(p, "buckets-some", "buckets", nil)
	open()
	choose("w", "default")
	choose("siblings", "false")
	p.click(find("dialog button", "Change"))
	p.shows("No bucket has any")
	p.quiet("buckets")
}

// repair has every record compared.
func repair(t *testing.T, p *page) {
	p.t = t
	p.click(`document.querySelector('nav a[href="#/transfers"]')`)
	p.click(find("button", "Repair…"))
	p.shows("The partitions of")
	p.click(find("dialog button", "Begin"))
	p.shows("64 partitions are compared by")
	p.until("all is equal", `(() => { const rows = [...document.querySelectorAll('section[aria-label="Repairs"] tbody tr')]; return rows.length > 0 && rows.every(r => /all equal/.test(r.innerText)); })()`)
	shots(p, "repaired", "transfers", nil)
	p.quiet("repair")
}

// keyboard goes without a mouse.
func keyboard(t *testing.T, p *page) {
	p.t = t
	p.eval(`location.hash = "#/ring"`, nil)
	p.shows("A partition")
	p.eval(`document.activeElement.blur(); document.querySelector(".skip").focus()`, nil)
	p.press("Enter")
	p.until("the skip link leads to the page", `document.activeElement.id === "title"`)
	p.eval(`document.querySelector("svg.ring").focus()`, nil)
	p.press("ArrowRight")
	p.until("partition 0", `location.hash === "#/ring?p=0"`)
	p.press("ArrowRight")
	p.until("partition 1 is told", `document.querySelector(".ring-details h2").innerText === "Partition 1" && document.querySelectorAll(".ring-details tbody tr").length === 3`)
	// Two keys at once, faster than the page is drawn.
	p.eval(`for (let i = 0; i < 2; i++) document.querySelector("svg.ring").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }))`, nil)
	p.until("partition 3 is told", `document.querySelector(".ring-details h2").innerText === "Partition 3"`)
	p.quiet("keyboard")
}

// hostile looks at names that would be markup if anything made markup of them.
func hostile(t *testing.T, p *page, n *ringcore.Node) {
	p.t = t
	evil := `"><img src=x onerror="window.caught=1"><script>window.caught=1</script>`
	if err := n.KV().Put(t.Context(), "default", []byte(evil), []byte(evil), kv.Options{}); err != nil {
		t.Fatal(err)
	}
	p.eval(`location.hash = "#/explain"`, nil)
	p.fill(`input[name="key"]`, evil)
	p.click(find("button", "Explain"))
	p.until("the value is shown as it is", `[...document.querySelectorAll(".values code")].some(e => e.innerText.startsWith('"><img src=x'))`)
	p.eval(`location.hash = "#/logs?find=" + encodeURIComponent('<img src=x onerror="window.caught=1">')`, nil)
	p.shows("No line is like that")
	var caught bool
	if p.eval("!!window.caught || !!document.querySelector('#app img[src=x]')", &caught); caught {
		t.Error("what came from a node was taken for markup")
	}
	p.quiet("hostile")
}

// stale commits a plan that has changed since it was read.
func stale(t *testing.T, p *page, other *ringcore.Node) {
	p.t = t
	p.eval(`location.hash = "#/members"`, nil)
	p.click(`[...document.querySelectorAll("tr")].find(e => /^n2/.test(e.innerText))?.querySelector("button")`)
	p.click(find("dialog button", "Weight or zone"))
	p.fill(`dialog input[name="weight"]`, "2")
	p.click(find("dialog button", "Stage"))
	p.shows("Plan: 1 change staged")
	p.click(find("button", "Commit the plan"))
	ask(t, other, "v1/cluster/set", `{"node":"n1","weight":3}`)
	p.click(find("dialog button", "Commit"))
	p.until("the refusal is shown", `document.querySelector("dialog .notice-bad")?.innerText.includes("plan")`)
	p.forget() // the browser notes the answer 409
	p.click(find("dialog button", "Cancel"))
	p.shows("Plan: 2 changes staged")
	p.click(find("button", "Clear the plan"))
	p.click(find("dialog button", "Clear"))
	p.shows("Nothing is staged")
	p.quiet("stale plan")
}

// leave lets a member go.
func leave(t *testing.T, p *page, n3 *ringcore.Node) {
	p.t = t
	p.eval(`location.hash = "#/members"`, nil)
	p.click(`[...document.querySelectorAll("tr")].find(e => /^n3/.test(e.innerText))?.querySelector("button")`)
	p.click(find("dialog button", "Leave"))
	p.click(find("dialog button", "Stage the leave"))
	p.shows("Plan: 1 change staged")
	p.click(find("button", "Commit the plan"))
	p.click(find("dialog button", "Commit"))
	select {
	case <-n3.Done():
	case <-time.After(2 * time.Minute):
		t.Fatal("n3 has not left")
	}
	p.until("n3 is not listed any more", `![...document.querySelectorAll('section[aria-label="Members"] tbody tr')].some(e => /^n3/.test(e.innerText))`)
	p.quiet("leave")
}

// gone stops a node whose console is open, and starts it again.
func gone(t *testing.T, b *browser, n2 *ringcore.Node) {
	p := b.open(t, url(n2))
	p.shows("Nodes up")
	p.quiet("overview of n2")
	if err := n2.Close(); err != nil {
		t.Fatal(err)
	}
	p.shows("Not connected")
	p.shows("How it is now is not known")
	shots(p, "gone", "overview", nil)
}

// shots takes pictures of a page in all colours and sizes, if RINGCORE_SHOTS names a folder.
func shots(p *page, name, at string, params map[string]string) {
	dir := os.Getenv("RINGCORE_SHOTS")
	if dir == "" {
		return
	}
	p.t.Helper()
	hash := "#/" + at
	for k, v := range params {
		hash += map[bool]string{true: "&", false: "?"}[strings.Contains(hash, "?")] + k + "=" + v
	}
	p.eval("location.hash = "+js(hash), nil)
	p.until(name+" is there", `!document.querySelector(".skeleton")`)
	p.do("Input.dispatchMouseEvent", map[string]any{"type": "mouseMoved", "x": 1, "y": 1}, nil)
	for _, size := range []struct {
		name          string
		width, height int
	}{{"desktop", 1280, 860}, {"phone", 390, 844}} {
		for _, scheme := range []string{"light", "dark"} {
			p.size(size.width, size.height)
			p.colors(scheme)
			var height int
			p.eval("document.documentElement.scrollHeight", &height)
			p.size(size.width, max(size.height, height))
			p.eval("new Promise(r => setTimeout(r, 400))", nil) // transitions
			p.shot(filepath.Join(dir, fmt.Sprintf("%s-%s-%s.png", name, size.name, scheme)))
		}
	}
	p.size(1280, 900)
	p.colors("light")
}
