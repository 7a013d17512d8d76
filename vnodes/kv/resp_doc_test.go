package kv

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// docs/resp.md has each command once, as many arguments as it takes, and the limits that there are.
func TestRESPPage(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "resp.md"))
	if err != nil {
		t.Fatal(err)
	}
	page, table := string(b), respCommands()
	var named []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z]+)([^`]*)` \\|").FindAllStringSubmatch(page, -1) {
		name := strings.ToLower(m[1])
		named = append(named, name)
		c := table[name]
		if c == nil {
			t.Errorf("resp.md has %s, which is no command", m[1])
			continue
		}
		least, more := 1, false // arguments, with the name
		for _, word := range strings.Fields(m[2]) {
			if more = more || strings.HasPrefix(word, "[") || word == "…"; !more {
				least++
			}
		}
		if regexp.MustCompile(`^ [A-Z]+\b|^[^\[]*\|`).MatchString(m[2]) {
			continue // subcommands, or forms, of which each takes others
		}
		if c.arity != least && c.arity != -least && !(name == "expire" && c.arity == -least) {
			t.Errorf("resp.md has %s with at least %d arguments; the arity is %d", m[0], least, c.arity)
		}
	}
	slices.Sort(named)
	if want := sortedNames(table); !slices.Equal(named, want) {
		t.Errorf("resp.md has the commands\n%v, and there are\n%v", named, want)
	}
	for _, want := range []string{
		fmt.Sprintf("up to %d at a time", respBatch), fmt.Sprintf("at most %d keys at a time", respInFlight), fmt.Sprintf("%d clients may", respClients),
		fmt.Sprintf("up to %d keys however", scanMinKeys), fmt.Sprintf("more than %d MiB is refused", respMaxKeys>>20), "version " + respRedisVersion,
		fmt.Sprintf("a key may have %d KiB, a value %d MiB, a command %d MiB and %d arguments", codec.MaxKey>>10, codec.MaxValue>>20, respMaxCommand>>20, respMaxArgs),
		fmt.Sprintf("beyond %d MiB", respMaxBulk>>20),
	} {
		if !strings.Contains(strings.ToLower(page), strings.ToLower(want)) {
			t.Errorf("resp.md does not say %q", want)
		}
	}
}
