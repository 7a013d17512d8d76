package kv

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/ringcore/ringcore/admin/problem"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// NDJSON is the content type of a listing: one JSON document on each line.
const NDJSON = "application/x-ndjson"

// A listing's caller must take a piece of it in this time.
const (
	listBuffer       = 64 << 10
	listWriteTimeout = 30 * time.Second
)

// textItem is a key or value in JSON: as text if it is UTF-8, else as base64,
// and Encoding says so.
type textItem struct {
	Key      string `json:"key"`
	Encoding string `json:"encoding,omitempty"`
}

// listLine is a line of a listing: one key or one value.
type listLine struct {
	Partition ring.Partition `json:"partition"`
	Node      string         `json:"node"`
	Key       *string        `json:"key,omitempty"`
	Value     *string        `json:"value,omitempty"`
	Encoding  string         `json:"encoding,omitempty"`
}

// listEnd is the last line of a listing.
type listEnd struct {
	Complete bool             `json:"complete"`
	Missing  []ring.Partition `json:"missing"`
	Error    *problem.Problem `json:"error,omitempty"`
}

// listing writes a bucket's items as they come.
type listing struct {
	kv      *KV
	rc      *http.ResponseController
	w       http.ResponseWriter
	buf     *bufio.Writer
	enc     *json.Encoder
	values  bool
	started bool
	names   map[ring.NodeID]string
}

func (k *KV) httpList(w http.ResponseWriter, r *http.Request) error {
	o, err := httpOptions(r)
	if err != nil {
		return err
	}
	l := &listing{kv: k, rc: http.NewResponseController(w), w: w, names: map[ring.NodeID]string{}}
	l.buf = bufio.NewWriterSize(deadlineWriter{w, l.rc}, listBuffer)
	l.enc = json.NewEncoder(l.buf)
	l.enc.SetEscapeHTML(false)
	list := k.Keys
	switch what := r.URL.Query().Get("list"); what {
	case "keys":
	case "values":
		l.values, list = true, k.Values
	default:
		return wire.Errorf(wire.BadRequest, "list=%s is not known: ask for list=keys or list=values", what)
	}
	cover, err := list(r.Context(), r.PathValue("bucket"), o, l.item)
	if err != nil && !l.started {
		return err
	}
	l.end(cover, err)
	return nil
}

// start sends the header: from then on errors go into the last line.
func (l *listing) start() {
	if !l.started {
		l.started = true
		l.w.Header().Set("Content-Type", NDJSON)
		l.w.Header().Set("Cache-Control", "no-store")
		l.w.WriteHeader(http.StatusOK)
	}
}

func (l *listing) item(e *Entry) error {
	l.start()
	name, ok := l.names[e.Node]
	if !ok {
		name = l.kv.cluster.NodeName(e.Node)
		l.names[e.Node] = name
	}
	line := listLine{Partition: e.Partition, Node: name}
	var text string
	if l.values {
		text, line.Encoding = jsonText(e.Value)
		line.Value = &text
	} else {
		text, line.Encoding = jsonText(e.Key)
		line.Key = &text
	}
	return l.enc.Encode(&line)
}

func (l *listing) end(cover Coverage, err error) {
	l.start()
	last := listEnd{Complete: cover.Complete, Missing: cover.Missing}
	if last.Missing == nil {
		last.Missing = []ring.Partition{}
	}
	if err != nil {
		p := problem.From(err)
		last.Complete, last.Error = false, &p
	}
	if l.enc.Encode(&last) == nil {
		_ = l.buf.Flush() // the caller has gone: nothing to do about it
	}
}

// deadlineWriter gives each write to the caller some time of its own, so that a
// long listing may take long, and a stuck caller may not.
type deadlineWriter struct {
	http.ResponseWriter
	rc *http.ResponseController
}

func (d deadlineWriter) Write(b []byte) (int, error) {
	_ = d.rc.SetWriteDeadline(time.Now().Add(listWriteTimeout)) // not every ResponseWriter can
	n, err := d.ResponseWriter.Write(b)
	if err == nil {
		_ = d.rc.Flush() // as above
	}
	return n, err
}

// jsonText is b as JSON can carry it.
func jsonText(b []byte) (text, encoding string) {
	if utf8.Valid(b) {
		return string(b), ""
	}
	return base64.StdEncoding.EncodeToString(b), "base64"
}
