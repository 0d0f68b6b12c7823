package faults

import (
	"encoding/json"
	"io"
	"sync"
	"time"
)

// Outcome is what is known of the effect of a request.
type Outcome string

const (
	// Done is an answer of 2xx, or a 404.
	Done Outcome = "done"
	// Refused has no effect: nothing was sent, or the answer was 4xx.
	Refused Outcome = "refused"
	// Failed may have taken effect until the next write of the CID that the same
	// start of the peer answered with 2xx: the answer was 5xx.
	Failed Outcome = "failed"
	// Unanswered may take effect at any time.
	Unanswered Outcome = "unanswered"
)

// Kind is what a request does to one CID.
type Kind string

// The kinds. A request that replaces one CID by another is an operation on both.
const (
	Write  Kind = "write"  // POST, or the new CID of a replace
	Remove Kind = "remove" // DELETE, or the old CID of a replace
	Read   Kind = "read"   // GET, a list, or a 404
	Expire Kind = "expire" // POST with an end, by the REST API of the cluster
)

// Op is an operation on one CID and its result.
type Op struct {
	Request int    `json:"request"` // operations of one request share it
	Client  string `json:"client"`
	CID     string `json:"cid"`
	Kind    Kind   `json:"kind"`
	Peer    int    `json:"peer"`
	// Generation counts the starts of the peer.
	Generation int `json:"generation"`
	// Home says that the client's writes to the CID go to this peer, so that a
	// read there sees the last one.
	Home bool `json:"home"`
	// Last says that all is healed: a read sees the last write wherever it is made.
	Last    bool    `json:"last,omitempty"`
	Value   Value   `json:"value"` // written, or read
	Outcome Outcome `json:"outcome"`
	Method  string  `json:"method"`
	Code    int     `json:"code,omitempty"`
	// Status is the pin's, or the text of the error.
	Status string `json:"status,omitempty"`
	// Call and Return are times since the start of the run.
	Call   time.Duration `json:"call"`
	Return time.Duration `json:"return"`
}

// History is all that was asked and answered. It is safe for concurrent use.
type History struct {
	mu   sync.Mutex
	next int
	ops  []Op
}

// request numbers a request.
func (h *History) request() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next++
	return h.next
}

func (h *History) add(ops ...Op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, ops...)
}

// take returns all operations and forgets them.
func (h *History) take() []Op {
	h.mu.Lock()
	defer h.mu.Unlock()
	ops := h.ops
	h.ops = nil
	return ops
}

// byCID groups operations, and keeps their order.
func byCID(ops []Op) map[string][]Op {
	groups := map[string][]Op{}
	for _, op := range ops {
		groups[op.CID] = append(groups[op.CID], op)
	}
	return groups
}

// writeOps writes a line of JSON for each.
func writeOps(w io.Writer, ops []Op) error {
	enc := json.NewEncoder(w)
	for _, op := range ops {
		if err := enc.Encode(op); err != nil {
			return err
		}
	}
	return nil
}
