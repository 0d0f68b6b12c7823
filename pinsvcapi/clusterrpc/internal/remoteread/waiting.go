package remoteread

import (
	"sync"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// DefaultMaxWaiting is how many requests may wait.
const DefaultMaxWaiting = 512

// waiting has the places of the requests that wait, of which each user may have half.
type waiting struct {
	limit int

	mu     sync.Mutex
	taken  int
	byUser map[pinsvc.User]int
}

func newWaiting(limit int) *waiting {
	return &waiting{limit: limit, byUser: make(map[pinsvc.User]int)}
}

// place is that of one request. It is taken before the request waits for the first pin.
type place struct {
	waiting *waiting
	user    pinsvc.User
	taken   bool
}

func (w *waiting) placeOf(user pinsvc.User) *place { return &place{waiting: w, user: user} }

// take reports whether the request may wait. It may be called by many goroutines.
func (p *place) take() bool {
	w := p.waiting
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.taken {
		return true
	}
	if w.taken >= w.limit || w.byUser[p.user] >= max(1, w.limit/2) {
		return false
	}
	w.taken++
	w.byUser[p.user]++
	p.taken = true
	return true
}

// leave gives the place back, if it was taken. Nothing of the request waits any more.
func (p *place) leave() {
	w := p.waiting
	w.mu.Lock()
	defer w.mu.Unlock()
	if !p.taken {
		return
	}
	p.taken = false
	w.taken--
	if w.byUser[p.user]--; w.byUser[p.user] == 0 {
		delete(w.byUser, p.user)
	}
}
