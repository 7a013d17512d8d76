package admin

import (
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// The table from which admin/openapi.json and docs/http.md are made: for each route with an
// `about`, what goes in and what comes out. The shapes are the Go types themselves, the words
// their comments. A route that is not here, or no longer there, fails TestOpenAPIIsCurrent.

// chapter is a section of docs/http.md, and a tag in openapi.json.
type chapter struct {
	name, about string
	operations  []operation
}

// operation is one method of one path.
type operation struct {
	route   string // method and path, as in the routing table
	about   string // more than the routing table says
	params  []param
	body    *content
	needs   []string // fields of the body that must be there
	replies []reply
}

// param is a value beside the body. Those in braces in the path need no entry, unless there
// is something to say of them.
type param struct {
	in, name, about string
	must            bool
	of              any // a value of its type; text if nil
}

// content is what a body or an answer holds: a media type, and for JSON a value of its type.
// Of a stream, each item is of one of the types.
type content struct {
	media  string
	types  []any
	stream bool
}

// reply is an answer other than a problem document, which every operation may give.
type reply struct {
	status  int
	about   string
	content *content
	headers []param
}

func sends(of any) *content                    { return &content{media: "application/json", types: []any{of}} }
func text(media string) *content               { return &content{media: media} }
func streams(media string, of ...any) *content { return &content{media, of, true} }

// gives is the usual answer: 200 with one of the types.
func gives(of ...any) []reply {
	return []reply{{200, "Done.", &content{media: "application/json", types: of}, nil}}
}

func query(name, about string, of any) param {
	return param{in: "query", name: name, about: about, of: of}
}

// needed is p, and must be there.
func needed(p param) param { p.must = true; return p }

func header(name, about string) param { return param{in: "header", name: name, about: about} }

// The shapes of package kv's answers, which are its own.
type (
	// KVPong is the answer to GET /v1/ping.
	KVPong struct {
		Partition ring.Partition `json:"partition"`
		Index     string         `json:"index"`   // of the partition: a 160-bit number in decimal
		Node      string         `json:"node"`    // name of the node that has answered
		NodeID    string         `json:"node_id"` // its id
	}

	// KVItem is a line of a listing: a key, or a value. The last line is a KVEnd.
	KVItem struct {
		Partition ring.Partition `json:"partition"`
		Node      string         `json:"node"`               // that has delivered it
		Key       string         `json:"key,omitempty"`      // of list=keys
		Value     string         `json:"value,omitempty"`    // of list=values
		Encoding  string         `json:"encoding,omitempty"` // base64 if the key or value is no UTF-8 text
	}

	// KVEnd is the last line of a listing.
	KVEnd struct {
		Complete bool             `json:"complete"`
		Missing  []ring.Partition `json:"missing"`         // partitions of which not enough replicas answered
		Error    *Problem         `json:"error,omitempty"` // what ended the listing before its time
	}

	// KVCleared is the answer to DELETE /v1/kv/{bucket}. A problem document of it has these fields too.
	KVCleared struct {
		Complete   bool             `json:"complete"`
		Missing    []ring.Partition `json:"missing"` // partitions that could not be listed
		Deleted    int              `json:"deleted"`
		Failed     int              `json:"failed"`           // keys that could not be deleted
		FailedKeys []KVKey          `json:"failed_keys"`      // the first of those
		Reason     string           `json:"reason,omitempty"` // of the first failure
	}

	// KVKey is a key as JSON can carry it.
	KVKey struct {
		Key      string `json:"key"`
		Encoding string `json:"encoding,omitempty"` // base64 if the key is no UTF-8 text
	}

	// Problem is every error's document (RFC 9457). Code is stable and for programs, the rest is for people.
	Problem struct {
		Type   string      `json:"type"` // urn:ringcore:problem: and the code
		Title  string      `json:"title"`
		Status int         `json:"status"`
		Code   problemCode `json:"code"`             // see errors.md
		Detail string      `json:"detail,omitempty"` // what happened, this time
		Hint   string      `json:"hint,omitempty"`   // what to do about it
	}

	// problemCode is a name of wire's table, or one of HTTP's own; there may be more in newer versions.
	problemCode string

	// RingEvent says that the ring, or other metadata, has changed: `event: ring`.
	RingEvent struct {
		Epoch uint64 `json:"epoch"`
	}

	// MemberEvent says that a member came, went or has another status: `event: member`.
	MemberEvent struct {
		Name   string `json:"name"`
		ID     string `json:"id"`
		Status string `json:"status"` // joining, valid, leaving, exiting, down or left
	}

	// TransferEvent says that a transfer has begun or ended: `event: transfer`.
	TransferEvent struct {
		Session   string         `json:"session"`
		Phase     string         `json:"phase"` // begun, committed or aborted
		Partition ring.Partition `json:"partition"`
		Kind      string         `json:"kind"` // move, swap, add or drop
	}
)

// quorums are the parameters that requests for keys share.
func quorums(names ...string) []param {
	all := map[string]param{
		"r":       query("r", "replicas that must have answered a read", wire.Quorum(0)),
		"w":       query("w", "replicas on which a write must be durable", wire.Quorum(0)),
		"pr":      query("pr", "primaries among those that answer a read", wire.Quorum(0)),
		"pw":      query("pw", "primaries among those that have the write", wire.Quorum(0)),
		"sloppy":  query("sloppy", "true: fallbacks count; false: they do not", false),
		"timeout": query("timeout", "for the whole request: 2s, 300ms, or a number of milliseconds", nil),
	}
	var list []param
	for _, n := range append(names, "timeout") {
		list = append(list, all[n])
	}
	return list
}

// causal is the header of a causal context.
func causal(about string) param { return header("X-Ringcore-Context", about) }

// object are the answers that carry a value.
func object(about string) []reply {
	headers := []param{
		causal("the causal context of what was read"), header("ETag", "the same, in quotes"),
	}
	return []reply{
		{200, about, text("application/octet-stream"), append(headers, header("Expires", "when the value expires, if it does"))},
		{300, "Several values, written at the same time. A PUT with the context replaces them all.", sends([][]byte{}), headers},
	}
}

func chapters() []chapter {
	return []chapter{
		{"Keys and buckets", "The key/value store. A bucket and a key are one segment of the path each and may hold any bytes, percent-encoded, slashes too (`%2F`); " +
			"keys have up to 64 KiB, values up to 8 MiB. What a request leaves out goes by the bucket's properties.", kvOperations()},
		{"Cluster", "Who is in it, who holds what, and how to change that. Changes are staged, shown as a plan and committed; `\"commit\":true` makes one at once.", clusterOperations()},
		{"Transfers and repair", "What moves, how fast, and whether replicas hold the same.", transferOperations()},
		{"Backup and restore", "What `ringcore backup` and `ringcore restore` are made of. Records travel in blocks, see disk.md.", backupOperations()},
		{"Node", "The node that is asked, and what it sees of the others.", nodeOperations()},
	}
}

func kvOperations() []operation {
	return []operation{
		{
			route: "GET /v1/kv/{bucket}/{key}", params: quorums("r", "pr", "sloppy"),
			replies: object("The value."),
		},
		{
			route: "PUT /v1/kv/{bucket}/{key}", body: text("application/octet-stream"),
			params: append(quorums("w", "pw", "sloppy"), causal("of the read that this write follows: what that has seen is replaced"),
				query("expires", "when the value ends, as in 2027-01-01T00:00:00Z", nil), header("If-None-Match", "`*`: only if there is no value"), header("If-Match", "`*`: only if there is a value; an ETag: only if it is still that one")),
			replies: []reply{{204, "Written. A condition that does not hold is 412 with the code condition_not_met.", nil, nil}},
		},
		{
			route: "DELETE /v1/kv/{bucket}/{key}", params: append(quorums("w", "pw", "sloppy"), causal("of a read: only what that has seen is deleted")),
			replies: object("The value that was deleted."),
		},
		{
			route: "GET /v1/kv/{bucket}", params: append([]param{needed(query("list", "keys or values", nil))}, quorums("r", "sloppy")...),
			replies: []reply{{200, "A line for each item, the last one says whether that is all.", streams("application/x-ndjson", KVItem{}, KVEnd{}), nil}},
		},
		{route: "DELETE /v1/kv/{bucket}", params: quorums("w", "pw", "sloppy"), replies: gives(KVCleared{})},
		{route: "GET /v1/buckets", replies: gives([]BucketView{})},
		{route: "GET /v1/buckets/{bucket}", replies: gives(wire.BucketProps{})},
		{route: "PUT /v1/buckets/{bucket}", body: sends(wire.BucketChange{}), replies: gives(wire.BucketProps{})},
		{route: "GET /v1/ping", params: append([]param{query("key", "the empty key if there is none", nil), query("bucket", "default, if none is named", nil)}, quorums()...), replies: gives(KVPong{})},
		{route: "GET /v1/preflist", params: []param{needed(query("key", "", nil)), query("bucket", "default, if none is named", nil), query("n", "places, 1 to 7; the cluster's replicas, if it is not given", 0)}, replies: gives([]PreflistEntry{})},
		{route: "GET /v1/explain", params: []param{needed(query("key", "", nil)), query("bucket", "default, if none is named", nil)}, replies: gives(ExplainView{})},
	}
}

func clusterOperations() []operation {
	return []operation{
		{route: "GET /v1/cluster/status", replies: gives(StatusView{})},
		{route: "GET /v1/members", replies: gives([]MemberView{})},
		{
			route: "GET /v1/ring", params: []param{header("If-None-Match", "the ETag of an earlier answer")},
			replies: []reply{
				{200, "Done.", sends(RingView{}), []param{header("ETag", "the epoch, in quotes")}},
				{304, "The epoch is still the one in If-None-Match.", nil, []param{header("ETag", "the epoch, in quotes")}},
			},
		},
		{route: "GET /v1/capabilities", replies: gives([]CapabilityView{})},
		{route: "GET /v1/cluster/plan", replies: gives(PlanView{})},
		{route: "POST /v1/cluster/commit", body: sends(commitRequest{}), needs: []string{"plan"}, about: "A plan that is not the one with that hash any more is a conflict.", replies: gives(committed{})},
		{route: "DELETE /v1/cluster/plan", replies: gives(cleared{})},
		{route: "POST /v1/cluster/join", body: sends(JoinRequest{}), needs: []string{"seed"}, replies: gives(committed{}, staged{})},
		{route: "POST /v1/cluster/leave", body: sends(ChangeRequest{}), needs: []string{"node"}, replies: gives(committed{}, staged{})},
		{route: "POST /v1/cluster/down", body: sends(ChangeRequest{}), needs: []string{"node"}, replies: gives(committed{}, staged{})},
		{route: "POST /v1/cluster/replace", body: sends(ChangeRequest{}), needs: []string{"old", "new"}, replies: gives(committed{}, staged{})},
		{route: "POST /v1/cluster/force-remove", body: sends(ChangeRequest{}), needs: []string{"node"}, replies: gives(committed{}, staged{})},
		{route: "POST /v1/cluster/force-replace", body: sends(ChangeRequest{}), needs: []string{"old", "new"}, replies: gives(committed{}, staged{})},
		{route: "POST /v1/cluster/set", body: sends(ChangeRequest{}), about: "One of: a node's weight or zone, the cluster's replicas.", replies: gives(committed{}, staged{})},
		{
			route: "GET /v1/events", about: "Whoever lags is cut off, and should read the views again when he comes back.",
			replies: []reply{{200, "An event's name is ring, member or transfer, its data one line of JSON.", streams("text/event-stream", RingEvent{}, MemberEvent{}, TransferEvent{}), nil}},
		},
	}
}

func transferOperations() []operation {
	return []operation{
		{route: "GET /v1/transfers", replies: gives(TransfersView{})},
		{route: "POST /v1/transfers/abort", body: sends(AbortRequest{}), needs: []string{"session"}, replies: gives(committed{})},
		{route: "GET /v1/transfers/limits", replies: gives(LimitsView{})},
		{route: "POST /v1/transfers/limits", body: sends(LimitsRequest{}), about: "A rate of -1 is no limit; 0 is refused.", replies: gives(LimitsView{})},
		{
			route: "POST /v1/repair", body: sends(RepairRequest{}),
			replies: []reply{{202, "Begun. GET /v1/repairs tells how it goes.", sends(RepairStarted{}), nil}},
		},
		{route: "GET /v1/repairs", replies: gives(RepairsView{})},
	}
}

func backupOperations() []operation {
	return []operation{
		{route: "GET /v1/backup", replies: gives(BackupView{})},
		{
			route: "POST /v1/backup/{service}/{partition}", body: text("application/octet-stream"),
			replies: []reply{{200, "First the leaves of the hash tree, then the records in the order of their keys. The last block is the end, or an error.", text(RecordBlocks), nil}},
		},
		{
			route: "POST /v1/restore/{service}/{partition}", body: text(RecordBlocks),
			params:  []param{needed(query("of", "partitions of the ring that the records are from", 0))},
			replies: []reply{{200, "All are durable on a majority of their replicas.", sends(Restored{}), nil}},
		},
	}
}

func nodeOperations() []operation {
	return []operation{
		{
			route: "GET /", params: []param{header("Accept", "with text/html comes the console")},
			replies: []reply{{200, "The console, or a list of what there is.", text("text/plain"), nil}},
		},
		{route: "GET /livez", replies: []reply{{200, "ok", text("text/plain"), nil}}},
		{
			route: "GET /readyz", replies: []reply{
				{200, "This node serves.", sends(readiness{}), nil}, {503, "It does not; the checks say why.", sends(readiness{}), nil},
			},
		},
		{route: "GET /metrics", about: "They are listed in metrics.md.", replies: []reply{{200, "In Prometheus's text format.", text("text/plain"), nil}}},
		{route: "GET /v1/openapi.json", replies: []reply{{200, "OpenAPI 3.1.", text("application/json"), nil}}},
		{route: "GET /v1/load", replies: gives(LoadView{})},
		{route: "GET /v1/vnodes", params: []param{query("node", "name", nil), query("service", "name", nil), query("partition", "", 0)}, replies: gives(VnodesView{})},
		{
			route: "GET /v1/logs", params: []param{header("Last-Event-ID", "the id of the last entry that was seen")},
			replies: []reply{{200, "Each event is named log, its id is the entry's seq, its data one line of JSON.", streams("text/event-stream", LogEntry{}), nil}},
		},
		{route: "POST /v1/node/drain", body: sends(DrainRequest{}), replies: gives(drained{})},
		{route: "POST /v1/node/resume", body: sends(DrainRequest{}), replies: gives(drained{})},
		{route: "GET /debug/pprof/", about: "Only on a node whose HTTP is bound to loopback.", replies: []reply{{200, "A page.", text("text/html"), nil}}},
	}
}
