package wire

import "encoding/binary"

// A client's coverage query is an OpCover whose body is a CoverRequest. It is
// answered by any number of chunks, each with a CoverPart and a row of Items (see
// AppendItem), and then a reply: if its code is OK, its body is a CoverEnd as JSON.

// CoverRequest is the body of an OpCover on a client's connection.
//
//	u8 r | rest: body
type CoverRequest struct {
	R    Quorum // slots of each partition to read; by default enough to meet every write of a majority
	Body []byte // the service's own
}

// AppendCoverRequest appends the encoding of c to dst.
func AppendCoverRequest(dst []byte, c *CoverRequest) []byte {
	return append(append(dst, byte(c.R)), c.Body...)
}

// ParseCoverRequest reads a CoverRequest; its Body shares b's memory.
func ParseCoverRequest(b []byte) (CoverRequest, error) {
	if len(b) < 1 {
		return CoverRequest{}, ErrBody
	}
	return CoverRequest{R: Quorum(b[0]), Body: b[1:]}, nil
}

// CoverPart says of a chunk's items which partition they lie in and which node
// they came from.
//
//	u16 partition | u8 len, node
type CoverPart struct {
	Partition uint16
	Node      string
}

// AppendCoverPart appends the encoding of p to dst.
func AppendCoverPart(dst []byte, p *CoverPart) []byte {
	dst = binary.BigEndian.AppendUint16(dst, p.Partition)
	dst = append(dst, byte(len(p.Node)))
	return append(dst, p.Node...)
}

// CutCoverPart reads the CoverPart of a chunk and returns its items.
func CutCoverPart(b []byte) (CoverPart, []byte, error) {
	if len(b) < 3 || len(b) < 3+int(b[2]) {
		return CoverPart{}, nil, ErrBody
	}
	n := int(b[2])
	return CoverPart{binary.BigEndian.Uint16(b), string(b[3 : 3+n])}, b[3+n:], nil
}

// CoverEnd says how a coverage query ended.
type CoverEnd struct {
	Complete bool     `json:"complete"`
	Missing  []uint16 `json:"missing"`           // partitions of which items may be missing, in order
	Reduced  bool     `json:"reduced,omitempty"` // fewer slots were read than meet every write
}

// HintStore names the hints that a node keeps for another node's slot of a partition.
//
//	u16 partition | u8 len, for
type HintStore struct {
	Partition uint16
	For       string // the node whose slot it is
}

// AppendHintStore appends the encoding of h to dst; an answer's body is a row of them.
func AppendHintStore(dst []byte, h *HintStore) []byte {
	return AppendCoverPart(dst, &CoverPart{Partition: h.Partition, Node: h.For}) // the same shape
}

// ParseHintStores reads a row of HintStores.
func ParseHintStores(b []byte) ([]HintStore, error) {
	var all []HintStore
	for len(b) > 0 {
		part, rest, err := CutCoverPart(b)
		if err != nil {
			return nil, err
		}
		all, b = append(all, HintStore{part.Partition, part.Node}), rest
	}
	return all, nil
}
