// Package admin is a node's HTTP API: health, metrics, the ring, members,
// transfers, membership changes, an event stream and the log, beside the key/value API
// that it mounts, and the web console of package console, which stands on all that.
//
// The nouns: a [Node] is what the API shows and changes, stated as an interface;
// the views ([RingView], [MemberView], [TransfersView], [PreflistEntry]) are the JSON
// documents; [Handler] makes the routes; a [Server] serves them on a listener; a
// [Hub] spreads events to the open streams; a [LogTail] keeps the latest lines of the log.
//
// A Server owns the goroutine that accepts, and ends every event stream when it
// closes. The package decides nothing about the ring and keeps no state of its own
// but counters. Prometheus is imported here and in cmd only.
package admin
