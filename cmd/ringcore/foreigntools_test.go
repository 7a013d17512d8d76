package main

import (
	"net/http"
	"os/exec"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// foreignTools uses nodes, which have 2 under by-http, with the programs that their users
// have: curl, those of Redis, and what Prometheus reads a scrape with.
func foreignTools(t *testing.T, nodes []*process) {
	t.Helper()
	port := nodes[0].resp[strings.LastIndexByte(nodes[0].resp, ':')+1:]
	url := "http://" + nodes[1].http + "/v1/kv/default/by-curl"
	for _, x := range []struct {
		args []string
		want []string // in what is printed
	}{
		{[]string{"redis-cli", "-p", port, "get", "by-http"}, []string{"2"}},
		{[]string{"redis-benchmark", "-p", port, "-t", "set,get", "-n", "2000", "-c", "10", "-P", "4", "--csv"}, []string{`"SET",`, `"GET",`}},
		{[]string{"curl", "-fsS", "-X", "PUT", "--data-binary", "7", url}, nil},
		{[]string{"curl", "-fsS", url}, []string{"7"}},
	} {
		if _, err := exec.LookPath(x.args[0]); err != nil {
			t.Logf("%s is not installed, and not tried", x.args[0])
			continue
		}
		out, err := exec.Command(x.args[0], x.args[1:]...).CombinedOutput()
		if err != nil || strings.Contains(strings.ToLower(string(out)), "error") {
			t.Errorf("%q: %s, %v", x.args, out, err)
		}
		for _, want := range x.want {
			if !strings.Contains(string(out), want) {
				t.Errorf("%q: there is no %s in %s", x.args, want, out)
			}
		}
	}
	for _, p := range nodes {
		scrape(t, p)
	}
}

// scrape reads a node's metrics as Prometheus does.
func scrape(t *testing.T, p *process) {
	t.Helper()
	res, err := http.Get("http://" + p.http + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // only read
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(res.Body)
	if err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	ours := 0
	for name, f := range families {
		if !strings.HasPrefix(name, "ringcore_") {
			continue
		}
		ours++
		if counts := f.GetType() == dto.MetricType_COUNTER; counts != strings.HasSuffix(name, "_total") || f.GetHelp() == "" {
			t.Errorf("%s: %s is a %s, with the help %q", p.name, name, f.GetType(), f.GetHelp())
		}
	}
	if ours < 50 {
		t.Errorf("%s: %d metrics", p.name, ours)
	}
}
