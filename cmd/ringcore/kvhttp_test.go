package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// kvRequest sends one request to p's key/value API.
func kvRequest(p *process, method, key, value string) (int, string, error) {
	req, err := http.NewRequest(method, "http://"+p.http+"/v1/kv/default/"+key, strings.NewReader(value))
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func put(t *testing.T, p *process, key, value string) {
	t.Helper()
	if status, body, err := kvRequest(p, http.MethodPut, key, value); err != nil || status/100 != 2 {
		t.Fatalf("put %s at %s: %d %s %v", key, p.name, status, body, err)
	}
}

func get(t *testing.T, p *process, key string) string {
	t.Helper()
	status, body, err := kvRequest(p, http.MethodGet, key, "")
	if err != nil || status != http.StatusOK {
		t.Fatalf("get %s at %s: %d %s %v", key, p.name, status, body, err)
	}
	return body
}

// owner is the name of the node in the first place of key's list.
func owner(t *testing.T, p *process, key string) string {
	t.Helper()
	var list []struct{ Node, Role string }
	if err := p.get(fmt.Sprintf("/v1/preflist?bucket=default&key=%s&n=1", key), &list); err != nil || len(list) == 0 {
		t.Fatalf("preference list of %s: %v %v", key, list, err)
	}
	return list[0].Node
}
