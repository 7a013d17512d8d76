package wire

import (
	"encoding/binary"
	"errors"
)

// Op is what a request asks for. Append only.
type Op uint8

// The operations, by the connection on which they are served.
const (
	// Client and peer connections.
	OpCommand Op = 1 // run a command: body Call; the reply's body is the service's
	OpQuery   Op = 2 // run a query: body Call
	OpRing    Op = 3 // fetch metadata newer than the header's epoch: reply body JSON state, empty if none
	OpCover   Op = 4 // run a coverage query: body Cover; answered by chunks of items (client: whole cluster; stream: one partition)
	OpPing    Op = 5 // reply body: empty, or to a peer what time it is

	// Peer connections.
	OpEffect      Op = 16 // merge an effect into a replica: body effect; FlagFallback: into the hint store
	OpRead        Op = 17 // run a query on this replica only: body Call
	OpWatch       Op = 18 // as OpRing, but waits up to the timeout for something newer
	OpPropose     Op = 19 // hand a metadata command to the leader: body JSON
	OpProgress    Op = 20 // this node's transfers under way: reply body JSON
	OpConfirm     Op = 21 // does this node serve header's partition at header's gen with verified data
	OpHintsFor    Op = 22 // which hints does this node hold, or know of, for a node: body and reply JSON; on a stream, see vnodes
	OpStatus      Op = 23 // this node's own status: reply body JSON
	OpGossipHello Op = 24 // addresses and epoch of the calling node: body JSON Introduction, reply the same
	OpHintCheck   Op = 25 // newest hint records held for a key: reserved
	OpHintStores  Op = 26 // which hints of a service does this node hold, for whomever: reply body a row of HintStores
	OpSizes       Op = 29 // what this node's slots hold: reply body JSON
	OpRepair      Op = 30 // compare every record of some partitions with their other replicas: body JSON; reply body empty
	OpRepairs     Op = 31 // what this node has compared: reply body JSON
	OpLoad        Op = 44 // how this node and its vnodes do: body "vnodes" for each of them too; reply body JSON
	OpCopies      Op = 45 // what this node holds under a key: body and reply body JSON

	// Stream connections.
	OpHandoff Op = 32 // body JSON, then chunks; see vnodes
	OpPull    Op = 33 // ask a replica to send its records of a partition; see vnodes
	OpHolds   Op = 34 // a node keeps hints for another one: body JSON; see vnodes
	OpFold    Op = 42 // as OpCover, but the vnode's records as they are, whatever its service; see vnodes
	OpCompare Op = 40 // compare a partition's records of one service with another replica's; see vnodes
	OpKeeps   Op = 41 // for which partitions does this node keep writes of others that are on their way: body and reply JSON

	// Stranger connections.
	OpIntroduce Op = 48 // who are you: body and reply JSON Introduction
	OpJoin      Op = 49 // admit me: body JSON, reply JSON
)

// Hello is the JSON body of the first frame in each direction of a connection.
type Hello struct {
	ClusterID string   `json:"cluster_id,omitempty"` // empty on ConnStrange, and from a client that does not know it yet
	NodeID    string   `json:"node_id,omitempty"`    // who speaks; empty for a client
	Expect    string   `json:"expect,omitempty"`     // whom the dialler means to reach; "" for anyone
	Addr      string   `json:"addr,omitempty"`       // the speaker's --addr as others dial it
	Versions  [2]int   `json:"versions"`             // lowest and highest protocol version spoken
	Caps      []string `json:"caps,omitempty"`
	Sent      uint32   `json:"sent,omitempty"` // as in the headers of the requests that follow
	// Generation is that of the speaking node's metadata.
	Generation Generation `json:"generation,omitzero"`
}

// Introduction is what nodes tell each other about themselves.
type Introduction struct {
	ClusterID  string `json:"cluster_id,omitempty"`
	NodeID     string `json:"node_id"`
	Name       string `json:"name"`
	Addr       string `json:"addr"`
	GossipAddr string `json:"gossip_addr"`
	HTTPAddr   string `json:"http_addr,omitempty"`
	RESPAddr   string `json:"resp_addr,omitempty"`
	Epoch      uint64 `json:"epoch,omitempty"`

	Generation Generation `json:"generation,omitzero"`
}

// Call is the body of OpCommand, OpQuery and OpRead.
//
//	uvarint len, bucket | uvarint len, key | u8 w or r | u8 pw or pr | u8 flags | u64 id | u8 len, for | rest: body
type Call struct {
	Bucket  string
	Key     []byte
	Quorum  Quorum // W of a command, R of a query
	Primary Quorum // PW or PR
	Flags   CallFlags
	ID      uint64 // of a command: its write id, the same in every retry; 0 lets the coordinator draw one
	For     string // with FlagFallback: the node that is stood in for
	Body    []byte // the service's own
}

// CallFlags modify a Call.
type CallFlags uint8

// The call flags.
const (
	CallBlind  CallFlags = 1 << 0 // the caller knows that the command does not read what it replaces; checked by the service
	CallSloppy CallFlags = 1 << 1 // fallbacks count
	CallStrict CallFlags = 1 << 2 // only slots count

	// CallRestore says that the body is records of a backup, and that the request's
	// partition is theirs, whatever bucket and key say. Only nodes may ask for that.
	CallRestore CallFlags = 1 << 7
)

// ErrBody reports a message body that does not parse.
var ErrBody = errors.New("malformed message body")

// AppendCall appends the encoding of c to dst.
func AppendCall(dst []byte, c *Call) []byte {
	dst = AppendString(dst, c.Bucket)
	dst = AppendBytes(dst, c.Key)
	dst = append(dst, byte(c.Quorum), byte(c.Primary), byte(c.Flags))
	dst = binary.BigEndian.AppendUint64(dst, c.ID)
	dst = append(dst, byte(len(c.For)))
	dst = append(dst, c.For...)
	return append(dst, c.Body...)
}

// ParseCall reads a Call; its Key and Body share b's memory.
func ParseCall(b []byte) (Call, error) {
	bucket, b, ok1 := CutBytes(b)
	key, b, ok2 := CutBytes(b)
	if !ok1 || !ok2 || len(b) < 12 {
		return Call{}, ErrBody
	}
	c := Call{
		Bucket: string(bucket), Key: key, Quorum: Quorum(b[0]), Primary: Quorum(b[1]),
		Flags: CallFlags(b[2]), ID: binary.BigEndian.Uint64(b[3:]),
	}
	n := int(b[11])
	if b = b[12:]; len(b) < n {
		return Call{}, ErrBody
	}
	c.For, c.Body = string(b[:n]), b[n:]
	return c, nil
}

// AppendBytes appends b with its length before it, as an unsigned varint.
func AppendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// AppendString is AppendBytes for a string.
func AppendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// CutBytes undoes AppendBytes: it returns the item, sharing b's memory, and what
// follows it; false if b is too short.
func CutBytes(b []byte) (item, rest []byte, ok bool) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, nil, false
	}
	return b[w : w+int(n) : w+int(n)], b[w+int(n):], true
}
