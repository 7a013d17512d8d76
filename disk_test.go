package ringcore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ringcore/ringcore/admin"
)

// filePage is the table of files in docs/disk.md.
type filePage struct {
	paths []string // as the page has them
	seen  map[string]bool
}

func readFilePage(t *testing.T) *filePage {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("docs", "disk.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, files, _ := strings.Cut(string(b), "\n## Files\n")
	files, _, _ = strings.Cut(files, "\n## ")
	p := &filePage{seen: make(map[string]bool)}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]+`) \\|").FindAllStringSubmatch(files, -1) {
		for _, path := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			p.paths = append(p.paths, path[1])
		}
	}
	return p
}

// matches reports whether the page's path stands for the file.
func (p *filePage) matches(path, file string) bool {
	form := regexp.QuoteMeta(path)
	for place, digits := range map[string]string{
		"<cluster>": "[0-9a-f]{32}", "<node>": "[0-9a-f]{16}", "<service>": "[a-z]+", "<n>": "[0-9]+", "<segment>": "[0-9a-f]{16}",
		"<session>": "[0-9a-f-]+", "<snapshot>": "[0-9-]+", "…": ".+",
	} {
		form = strings.ReplaceAll(form, place, digits)
	}
	return regexp.MustCompile("^" + form + "$").MatchString(file)
}

// walk fails for a file in dir that the page does not have.
func (p *filePage) walk(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it has gone meanwhile
		}
		if err != nil || d.IsDir() {
			return err
		}
		file, err := filepath.Rel(dir, path)
		known := false
		for _, path := range p.paths {
			if p.matches(path, filepath.ToSlash(file)) {
				known, p.seen[path] = true, true
			}
		}
		if !known {
			t.Errorf("docs/disk.md does not have %s", file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (p *filePage) saw(suffix string) error {
	for path := range p.seen {
		if strings.HasSuffix(path, suffix) {
			return nil
		}
	}
	return fmt.Errorf("no %s", suffix)
}

// TestFilesAreDescribed: nodes that serve, stand in for one that is down and hand partitions over
// have no file that docs/disk.md does not describe.
func TestFilesAreDescribed(t *testing.T) {
	page := readFilePage(t)
	nodes := threeNodes(t, Config{Partitions: 8})
	dirs := []string{nodes[0].cfg.Dir, nodes[1].cfg.Dir, nodes[2].cfg.Dir}
	put := func(from, to int) {
		for i := from; i < to; i++ {
			mustPut(t, nodes[0], fmt.Sprint("key", i), strings.Repeat("v", 40_000))
		}
	}
	look := func(dirs ...string) {
		for _, dir := range dirs {
			page.walk(t, dir)
		}
	}
	put(0, 20)
	look(dirs...)
	if err := nodes[2].Close(); err != nil {
		t.Fatal(err)
	}
	put(20, 24)
	eventually(t, "hints are kept", func() error {
		look(dirs[:2]...)
		return page.saw("hints/p<n>.<node>.bolt")
	})
	testNode(t, Config{Name: "n3", Dir: dirs[2]})
	slow, free := int64(256<<10), admin.LimitsRequest{Reset: true}
	if _, err := (view{nodes[0]}).SetLimits(t.Context(), admin.LimitsRequest{Limits: admin.Limits{BytesOut: slow}}); err != nil {
		t.Fatal(err)
	}
	n4 := testNode(t, Config{Name: "n4", Join: []string{nodes[0].Info().Addr}})
	eventually(t, "partitions are on the way", func() error {
		look(n4.cfg.Dir)
		return page.saw(".staging")
	})
	if _, err := (view{nodes[0]}).SetLimits(t.Context(), free); err != nil {
		t.Fatal(err)
	}
	settled(t, nodes[0], n4)
	look(append(dirs, n4.cfg.Dir)...)
	for _, path := range page.paths {
		rare := strings.Contains(path, "/snapshots/") || strings.HasSuffix(path, ".aside") || strings.HasSuffix(path, ".tmp") || strings.Contains(path, "raft-<n>")
		if !rare && !page.seen[path] {
			t.Errorf("docs/disk.md has %s, which was not seen", path)
		}
	}
}
