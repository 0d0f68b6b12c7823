package blockfetch

// maxAhead bounds the bytes of blocks that came with another one and are not asked for yet, and those of
// one response: a peer may send more than maxBytes.
const maxAhead = 8 << 20

// firstCount is how many blocks are wanted of a branch at first: mostly the others are here. Where a
// walk goes on below what came, it is four times as many each time.
const (
	firstCount = 8
	growth     = 4
)

// ahead are blocks that a walk will come to.
type ahead struct {
	blocks map[string][]byte
	order  []string // oldest first, with such as were taken
	bytes  int
	// below has the blocks below the response that came last, with how many to ask for there.
	below map[string]int
}

func newAhead() ahead { return ahead{blocks: make(map[string][]byte)} }

func (a *ahead) add(id string, data []byte) {
	if _, ok := a.blocks[id]; ok {
		return
	}
	a.blocks[id], a.order, a.bytes = data, append(a.order, id), a.bytes+len(data)
	for a.bytes > maxAhead || len(a.order) > 2*len(a.blocks)+maxBlocks {
		_, _ = a.take(a.order[0])
		a.order = a.order[1:]
	}
}

func (a *ahead) take(id string) ([]byte, bool) {
	data, ok := a.blocks[id]
	delete(a.blocks, id)
	a.bytes -= len(data)
	return data, ok
}

// count is how many blocks to ask for.
func (a *ahead) count(id string) int {
	if n, ok := a.below[id]; ok {
		return min(growth*n, maxBlocks)
	}
	return firstCount
}

// came notes a response to a request for count blocks, and the links that lead out of it.
func (a *ahead) came(count int, links map[string]bool) {
	a.below = make(map[string]int, len(links))
	for id := range links {
		a.below[id] = count
	}
}
