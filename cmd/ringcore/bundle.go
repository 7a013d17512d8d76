package main

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore/admin"
)

// bundleOf are the files of the whole cluster in a bundle, and where they come from.
var bundleOf = []struct{ file, path string }{
	{"status.json", "/v1/cluster/status"},
	{"members.json", "/v1/members"},
	{"ring.json", "/v1/ring"},
	{"transfers.json", "/v1/transfers"},
	{"limits.json", "/v1/transfers/limits"},
	{"plan.json", "/v1/cluster/plan"},
	{"capabilities.json", "/v1/capabilities"},
	{"repairs.json", "/v1/repairs"},
}

// bundleOfNode are those of each node.
var bundleOfNode = []struct{ file, path string }{
	{"ready.json", "/readyz"},
	{"metrics.txt", "/metrics"},
	{"goroutines.txt", "/debug/pprof/goroutine?debug=2"},
	{"heap.pprof", "/debug/pprof/heap"},
	{"mutex.pprof", "/debug/pprof/mutex"},
}

func (a *app) debugCommand() *cobra.Command {
	return group("debug", "Gather what helps to find a fault", a.debugBundle())
}

func (a *app) debugBundle() *cobra.Command {
	var file string
	var profile time.Duration
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "Write what all nodes tell of themselves to one .tar.gz",
		Long: "Write what all nodes tell of themselves to one .tar.gz: status, members, ring, transfers, metrics, goroutines,\n" +
			"memory. It holds names and addresses of nodes and names of services, and no key or value of any bucket. What\n" +
			"cannot be had, of a node that is down or that serves no profiles, is named in errors.txt.",
		Example: "  ringcore debug bundle\n  ringcore debug bundle --file fault.tar.gz --profile 5s",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.bundle(cmd.Context(), cmp.Or(file, "ringcore-"+time.Now().UTC().Format("20060102-150405")+".tar.gz"), profile)
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "the file to write, which must not exist (ringcore-DATE-TIME.tar.gz)")
	cmd.Flags().DurationVar(&profile, "profile", 0, "take a CPU profile of each node for so long")
	return cmd
}

// bundle asks every node and writes the archive.
func (a *app) bundle(ctx context.Context, file string, profile time.Duration) error {
	api, err := a.api()
	if err != nil {
		return err
	}
	var members []admin.MemberView
	if err := api.get(ctx, "/v1/members", nil, &members); err != nil {
		return err
	}
	out, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make the bundle: %w", err)
	}
	defer func() { _ = out.Close() }() // it was closed below, if all went well
	b := newBundleWriter(out, strings.TrimSuffix(path.Base(file), ".tar.gz"))
	version, err := json.MarshalIndent(thisBuild(), "", "  ")
	if err != nil {
		return err
	}
	b.add("version.json", version)
	for _, from := range bundleOf {
		b.fetch(ctx, api, from.file, from.path)
	}
	for _, m := range members {
		if m.HTTP == "" {
			b.fail(m.Name, errors.New("it has no HTTP address"))
			continue
		}
		node := &apiClient{endpoints: []string{"http://" + m.HTTP}, timeout: a.timeout + profile, http: api.http}
		a.note("%s", m.Name)
		for _, from := range bundleOfNode {
			b.fetch(ctx, node, m.Name+"/"+from.file, from.path)
		}
		if profile > 0 {
			b.fetch(ctx, node, m.Name+"/cpu.pprof", "/debug/pprof/profile?seconds="+strconv.Itoa(max(1, int(profile.Seconds()))))
		}
	}
	if err := cmp.Or(b.close(), out.Close()); err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	if len(b.failed) > 0 {
		a.note("%d of its parts could not be had: see errors.txt in it", len(b.failed))
	}
	return a.done(file, map[string]any{"file": file, "missing": len(b.failed)})
}

// bundleWriter writes an archive's files under one folder. The first error of writing stays.
type bundleWriter struct {
	zip    *gzip.Writer
	tar    *tar.Writer
	folder string
	now    time.Time
	failed []string // what could not be had
	err    error
}

func newBundleWriter(out *os.File, folder string) *bundleWriter {
	b := &bundleWriter{zip: gzip.NewWriter(out), folder: folder, now: time.Now()}
	b.tar = tar.NewWriter(b.zip)
	return b
}

func (b *bundleWriter) add(name string, body []byte) {
	if b.err != nil {
		return
	}
	h := &tar.Header{Name: b.folder + "/" + name, Mode: 0o600, Size: int64(len(body)), ModTime: b.now}
	if b.err = b.tar.WriteHeader(h); b.err == nil {
		_, b.err = b.tar.Write(body)
	}
}

func (b *bundleWriter) fail(name string, err error) {
	b.failed = append(b.failed, fmt.Sprintf("%s: %v\n", name, err))
}

// fetch adds what api answers to a GET of target, or why it did not.
func (b *bundleWriter) fetch(ctx context.Context, api *apiClient, name, target string) {
	u, err := url.Parse(target)
	if err != nil {
		b.fail(name, err)
		return
	}
	_, body, err := api.do(ctx, request{method: "GET", path: u.Path, query: u.Query()})
	if p, ok := errors.AsType[*problemError](err); ok && p.code == "" {
		body, err = p.body, nil // a node that is not ready says why, with status 503
	}
	if err != nil {
		b.fail(name, err)
		return
	}
	b.add(name, body)
}

// close ends the archive.
func (b *bundleWriter) close() error {
	if len(b.failed) > 0 {
		b.add("errors.txt", []byte(strings.Join(b.failed, "")))
	}
	return cmp.Or(b.err, b.tar.Close(), b.zip.Close())
}
