package kv

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{"", []string{""}, []string{"a"}},
		{"*", []string{"", "a", "a\x00b"}, nil},
		{"a*c", []string{"ac", "abc", "acc", "a/c"}, []string{"a", "acd", "bc"}},
		{"*a*b*", []string{"ab", "xaxbx", "aab"}, []string{"ba", "a", ""}},
		{"h?llo", []string{"hello", "hallo"}, []string{"hllo", "heello"}},
		{"h[ae]llo", []string{"hello", "hallo"}, []string{"hillo", "hllo"}},
		{"h[^e]llo", []string{"hallo"}, []string{"hello", "hllo"}},
		{"h[a-c]llo", []string{"hallo", "hbllo", "hcllo"}, []string{"hdllo"}},
		{"h[c-a]llo", []string{"hbllo"}, []string{"hdllo"}},
		{`a\*b`, []string{"a*b"}, []string{"axb"}},
		{`[\]]`, []string{"]"}, []string{"\\"}},
		{"[a-]", []string{"a", "-"}, []string{"b"}},
		{"[ab", []string{"a", "b"}, []string{"c", ""}},
		{`a\`, []string{`a\`}, []string{"a"}},
		{"user:*:name", []string{"user:7:name", "user::name"}, []string{"user:7:names"}},
	} {
		for _, s := range c.yes {
			if !globMatch([]byte(c.pattern), []byte(s)) {
				t.Errorf("%q does not match %q", c.pattern, s)
			}
		}
		for _, s := range c.no {
			if globMatch([]byte(c.pattern), []byte(s)) {
				t.Errorf("%q matches %q", c.pattern, s)
			}
		}
	}
}

// Stars and question marks mean what .* and . mean in a regular expression.
func TestGlobLikeRegexp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringOfN(rapid.SampledFrom([]rune("ab*?")), 0, 8, -1).Draw(t, "pattern")
		name := rapid.StringOfN(rapid.SampledFrom([]rune("ab")), 0, 12, -1).Draw(t, "name")
		re := regexp.MustCompile("^" + strings.NewReplacer("*", ".*", "?", ".").Replace(pattern) + "$")
		if got := globMatch([]byte(pattern), []byte(name)); got != re.MatchString(name) {
			t.Fatalf("%q on %q: %v", pattern, name, got)
		}
	})
}

// A pattern made to backtrack takes no time to speak of.
func TestGlobIsNotExponential(t *testing.T) {
	if globMatch([]byte(strings.Repeat("a*", 64)+"b"), []byte(strings.Repeat("a", 20_000))) {
		t.Fatal("it matches")
	}
}

func FuzzGlob(f *testing.F) {
	f.Add([]byte(`[^a-\]*?\`), []byte("abc"))
	f.Fuzz(func(t *testing.T, pattern, name []byte) {
		globMatch(pattern, name) // must end, and not panic
	})
}
