package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// Records travel between a backup and a cluster, and lie in its files, as a row of blocks.
//
//	u8 kind | u32 length of body | u32 CRC-32C of all before it and of the body | body
//
// The last one is a BlockEnd: without it the row is not whole.

// BlockKind says what a block holds.
type BlockKind byte

// The kinds of blocks. Append only.
const (
	BlockLeaves BlockKind = 'L' // a set of leaves: which records of a partition follow; see vnodes
	BlockItems  BlockKind = 'I' // a row of Items, in the order of their keys
	BlockError  BlockKind = 'X' // JSON, a problem document: why the row ends here, and is not whole
	BlockEnd    BlockKind = 'E' // u64, how many items came
)

const (
	blockHead = 1 + 4 + 4
	blockSize = 64 << 10 // bytes of items that make a block; one may go past it

	// maxBlock is the longest body that is read: that of the longest item, and some.
	maxBlock = MaxBody + 1<<20
)

// ErrBlocks says that a row of blocks is damaged, or not whole.
var ErrBlocks = errors.New("damaged or cut off")

func blockSum(head, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, body)
}

// BlockWriter writes a row of blocks. It belongs to one goroutine.
type BlockWriter struct {
	w     io.Writer
	items []byte
	head  [blockHead]byte
	count uint64
}

// NewBlockWriter writes to w.
func NewBlockWriter(w io.Writer) *BlockWriter { return &BlockWriter{w: w} }

// Item adds an item. It may be used again afterwards.
func (b *BlockWriter) Item(it *Item) error {
	b.items = AppendItem(b.items, it)
	b.count++
	if len(b.items) < blockSize {
		return nil
	}
	return b.flush()
}

func (b *BlockWriter) flush() error {
	if len(b.items) == 0 {
		return nil
	}
	err := b.write(BlockItems, b.items)
	b.items = b.items[:0]
	return err
}

// Block writes a block of another kind, behind the items so far.
func (b *BlockWriter) Block(kind BlockKind, body []byte) error {
	if err := b.flush(); err != nil {
		return err
	}
	return b.write(kind, body)
}

func (b *BlockWriter) write(kind BlockKind, body []byte) error {
	b.head[0] = byte(kind)
	binary.BigEndian.PutUint32(b.head[1:], uint32(len(body)))
	binary.BigEndian.PutUint32(b.head[5:], blockSum(b.head[:5], body))
	if _, err := b.w.Write(b.head[:]); err != nil {
		return err
	}
	_, err := b.w.Write(body)
	return err
}

// End writes what makes the row whole.
func (b *BlockWriter) End() error {
	if err := b.flush(); err != nil {
		return err
	}
	return b.write(BlockEnd, binary.BigEndian.AppendUint64(nil, b.count))
}

// BlockReader reads a row of blocks. It belongs to one goroutine. Its errors wrap
// ErrBlocks, but for those of its reader.
type BlockReader struct {
	r     io.Reader
	body  []byte
	rest  []byte // of the block's items
	count uint64
	ended bool
}

// NewBlockReader reads from r, in small pieces too.
func NewBlockReader(r io.Reader) *BlockReader { return &BlockReader{r: r} }

// Next reads a block, whose body is valid until the next call; io.EOF behind the last
// one, which is checked. It is not called while there are Items left.
func (b *BlockReader) Next() (BlockKind, []byte, error) {
	var head [blockHead]byte
	switch _, err := io.ReadFull(b.r, head[:]); {
	case b.ended && err == io.EOF:
		return 0, nil, io.EOF
	case b.ended && err == nil:
		return 0, nil, fmt.Errorf("something follows the end of the records: %w", ErrBlocks)
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return 0, nil, fmt.Errorf("the records end too early: %w", ErrBlocks)
	case err != nil:
		return 0, nil, err
	}
	kind, n := BlockKind(head[0]), binary.BigEndian.Uint32(head[1:])
	if n > maxBlock {
		return 0, nil, fmt.Errorf("a block of %d bytes: %w", n, ErrBlocks)
	}
	if cap(b.body) < int(n) {
		b.body = make([]byte, n)
	}
	b.body = b.body[:n]
	switch _, err := io.ReadFull(b.r, b.body); {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return 0, nil, fmt.Errorf("the records end too early: %w", ErrBlocks)
	case err != nil:
		return 0, nil, err
	case blockSum(head[:5], b.body) != binary.BigEndian.Uint32(head[5:]):
		return 0, nil, fmt.Errorf("checksum of a block: %w", ErrBlocks)
	}
	if kind == BlockEnd {
		if b.ended = true; n != 8 || binary.BigEndian.Uint64(b.body) != b.count {
			return 0, nil, fmt.Errorf("the number of records is not %d: %w", b.count, ErrBlocks)
		}
	}
	return kind, b.body, nil
}

// Item reads the next item of the rows of items, valid until the next call; io.EOF when
// the whole row has come to its end. Blocks of other kinds go to other, if that is not nil.
func (b *BlockReader) Item(other func(BlockKind, []byte) error) (Item, error) {
	for len(b.rest) == 0 {
		kind, body, err := b.Next()
		switch {
		case err != nil:
			return Item{}, err
		case kind == BlockItems:
			b.rest = body
		case kind == BlockEnd || other == nil:
		default:
			if err := other(kind, body); err != nil {
				return Item{}, err
			}
		}
	}
	it, rest, err := CutItem(b.rest)
	if err != nil {
		return Item{}, fmt.Errorf("an item does not parse: %w", ErrBlocks)
	}
	b.rest = rest
	b.count++
	return it, nil
}
