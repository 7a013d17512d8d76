package vnodes

import "sync"

// blockSize is the memory that a table takes at a time, in bytes.
const blockSize = 32 << 10

// regionBlocks is how many blocks are asked of the system at a time.
const regionBlocks = 32

// blockPool gives tables their memory. It lies outside the garbage collector's
// heap, which would grow to twice what the tables hold before it is looked at
// again, and a table's blocks come back at a known moment, all at once.
//
// Whoever reads a table holds its store's lock, or is the checkpoint that writes
// it, and copies what is to outlive that: no slice of a block may be kept.
type blockPool struct {
	mu      sync.Mutex // held for list operations, and while the system is asked for memory
	free    [][]byte   // blocks that may hold memory
	empty   [][]byte   // blocks whose memory was given back; it comes again when it is written to
	regions [][]byte   // what blocks are parts of
	large   map[*byte][]byte
}

func newBlockPool() *blockPool { return &blockPool{large: make(map[*byte][]byte)} }

// get is a block, with anything in it.
func (p *blockPool) get() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) == 0 && len(p.empty) == 0 {
		r := mapMemory(regionBlocks * blockSize)
		p.regions = append(p.regions, r)
		for at := 0; at < len(r); at += blockSize {
			p.empty = append(p.empty, r[at:at+blockSize:at+blockSize])
		}
	}
	from := &p.free
	if len(*from) == 0 {
		from = &p.empty
	}
	last := len(*from) - 1
	b := (*from)[last]
	*from = (*from)[:last]
	return b
}

// getLarge is memory for something of n bytes that needs a place of its own.
func (p *blockPool) getLarge(n int) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := mapMemory(n)
	p.large[&b[0]] = b
	return b
}

// put takes back what get and getLarge gave.
func (p *blockPool) put(blocks [][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range blocks {
		if _, isLarge := p.large[&b[0]]; isLarge {
			delete(p.large, &b[0])
			unmapMemory(b)
			continue
		}
		p.free = append(p.free, b)
	}
}

// shrink gives back the memory of some of the blocks that nobody uses. Called now
// and then, it leaves those that are soon used again.
func (p *blockPool) shrink() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range (len(p.free) + 31) / 32 {
		last := len(p.free) - 1
		emptyMemory(p.free[last])
		p.empty = append(p.empty, p.free[last])
		p.free = p.free[:last]
	}
}

// close gives all memory back. No table may be in use any more.
func (p *blockPool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.large {
		unmapMemory(b)
	}
	for _, r := range p.regions {
		unmapMemory(r)
	}
	p.large, p.regions, p.free, p.empty = nil, nil, nil, nil
}
