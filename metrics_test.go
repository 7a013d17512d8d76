package ringcore

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// scrape returns the names of the node's own metrics and their help, after some requests.
func scrape(t *testing.T, n *Node) map[string]string {
	t.Helper()
	base := "http://" + n.Info().HTTPAddr
	for _, method := range []string{http.MethodPut, http.MethodGet} {
		req, err := http.NewRequestWithContext(t.Context(), method, base+"/v1/kv/default/k", strings.NewReader("v"))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	help := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^# HELP (ringcore_\w+) (.+)$`).FindAllStringSubmatch(string(text), -1) {
		help[m[1]] = m[2]
	}
	return help
}

// TestMetricsAreDocumented: docs/metrics.md has every metric with its help, and no other; the
// alert rules and the dashboard ask for nothing that there is not.
func TestMetricsAreDocumented(t *testing.T) {
	help := scrape(t, testNode(t, Config{Name: "n1", Storage: "disk", Partitions: 8}))
	if len(help) < 40 {
		t.Fatalf("only %d metrics: %v", len(help), help)
	}
	page, err := os.ReadFile(filepath.Join("docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(ringcore_\\w+)[^|]* \\| \\w+ \\| (.+) \\|$").FindAllStringSubmatch(string(page), -1) {
		told[m[1]] = m[2]
	}
	for name, text := range help {
		if told[name] == "" {
			t.Errorf("docs/metrics.md lacks %s: %s", name, text)
		} else if !strings.HasPrefix(told[name], text) {
			t.Errorf("docs/metrics.md says of %s: %s; it says of itself: %s", name, told[name], text)
		}
	}
	sometimes := regexp.MustCompile(`Only while`)
	for name, text := range told {
		if help[name] == "" && !sometimes.MatchString(text) {
			t.Errorf("docs/metrics.md has %s, which there is not", name)
		}
	}
	for _, file := range []string{"alerts.yaml", "grafana.json"} {
		text, err := os.ReadFile(filepath.Join("deploy", file))
		if err != nil {
			t.Fatal(err)
		}
		names := regexp.MustCompile(`\bringcore_\w+`).FindAllString(string(text), -1)
		if len(names) < 8 {
			t.Errorf("%s asks for %d metrics", file, len(names))
		}
		for _, name := range names {
			base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
			if told[name] == "" && told[base] == "" {
				t.Errorf("deploy/%s asks for %s, which there is not", file, name)
			}
		}
		for _, m := range regexp.MustCompile(`code=~"([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
			for name := range strings.SplitSeq(m[1], "|") {
				if !isCode(name) {
					t.Errorf("deploy/%s asks for the code %s, which there is not", file, name)
				}
			}
		}
	}
}

// isCode reports whether a request can end with a code of that name.
func isCode(name string) bool {
	for c := range 256 {
		if wire.Code(c).String() == name {
			return true
		}
	}
	return false
}
