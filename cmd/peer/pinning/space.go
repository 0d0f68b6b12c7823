package pinning

import (
	"context"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kuborpc"
)

const (
	// maxWaiting bounds the pins that wait for space. Further ones are tried again
	// like any pin that failed.
	maxWaiting = 10_000
	// spaceMargin and 1/spaceShare of the content are what storing it may cost beside
	// its bytes.
	spaceMargin, spaceShare = 1 << 20, 32
	// blindRetry is how long a pin waits for space that may not show.
	blindRetry = 10 * time.Minute
	// measureLimit bounds the time to measure content and storage.
	measureLimit = 10 * time.Second
)

// space keeps pins that failed for lack of space from being begun again before there
// is space for them, whoever requests it (U39 in docs/upstream-faults.md). It is safe for concurrent use.
type space struct {
	rpc     *kuborpc.Client
	storage Storage
	now     func() time.Time

	mu       sync.Mutex
	waiting  map[cid.Cid]*waiting
	reserved uint64 // For pins in progress that had to wait.
	// full: the node has reported that it has no space left, at that time the last.
	full     bool
	reported time.Time
	// stuck is the free space with which it still does so at a fresh try; 0: it does not.
	stuck uint64
}

// waiting is a pin that failed for lack of space.
type waiting struct {
	reason  string // of the IPFS node
	since   time.Time
	before  usage  // when the try began
	after   usage  // when it had failed
	fetched uint64 // Bytes of the content that were there.
	total   uint64 // Bytes of the content; 0: not known.
	trying  bool
}

func newSpace(rpc *kuborpc.Client, storage Storage) *space {
	return &space{rpc: rpc, storage: storage, now: time.Now, waiting: make(map[cid.Cid]*waiting)}
}

// noSpace reports whether an error of the IPFS node says that it cannot store more.
func noSpace(err error) bool {
	text := strings.ToLower(err.Error())
	for _, known := range []string{"no space left on device", "disk quota exceeded", "not enough space on the disk"} {
		if strings.Contains(text, known) {
			return true
		}
	}
	return false
}

// admit returns the node's own reason when there is still no space for a pin that
// failed for lack of it. Otherwise the caller calls release at the end of the pin.
func (s *space) admit(ctx context.Context, key cid.Cid) (release func(), err error) {
	if !s.waits(key) {
		return func() {}, nil
	}
	now, err := s.measure(ctx)
	if err != nil {
		return nil, asCluster(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w, ok := s.waiting[key]
	if !ok {
		return func() {}, nil
	}
	need := w.need(now)
	if free := w.free(now, s.reserved); free < need && !s.blind(w, now) {
		return nil, fmt.Errorf("IPFS error (pin/add). Code: 200. Message: %s; %s more needed, %s free",
			w.reason, humanize.Bytes(need), humanize.Bytes(free))
	}
	if need == math.MaxUint64 {
		need = 0
	}
	w.trying = true
	s.reserved += need
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		w.trying = false
		s.reserved -= need
	}, nil
}

func (s *space) waits(key cid.Cid) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.waiting[key]
	return ok
}

func (s *space) measure(ctx context.Context) (usage, error) {
	ctx, cancel := context.WithTimeout(ctx, measureLimit)
	defer cancel()
	return s.storage.usage(ctx)
}

// blind reports whether a pin has waited long enough for space that does not show.
func (s *space) blind(w *waiting, now usage) bool {
	return !now.freeKnown && s.now().Sub(w.since) >= blindRetry
}

// need is how much more space a pin takes: what was missing, and what has left the
// repo since, which may have been its own.
func (w *waiting) need(now usage) uint64 {
	switch {
	case w.total > 0:
		fetched := min(w.fetched, w.total)
		collected := min(fetched, w.removed(now))
		return w.total - fetched + collected + w.total/spaceShare + spaceMargin
	case now.freeKnown && w.after.free >= enoughSpace:
		return spaceMargin // It was not space that was missing (U58 in docs/upstream-faults.md).
	case now.freeKnown:
		return w.insufficient() + spaceMargin
	default:
		return math.MaxUint64
	}
}

// insufficient is the space that did not suffice for a pin of unknown size: what there was, but for
// what others than the repo took during the try.
func (w *waiting) insufficient() uint64 {
	if !w.after.freeKnown || w.after.repo == 0 {
		return w.before.free // How it ended could not be measured.
	}
	return min(w.before.free, w.after.free+w.after.repo-min(w.before.repo, w.after.repo))
}

// free is how much space there is for a pin. Of a storage that cannot be seen it is
// what has left the repo since the node had none.
func (w *waiting) free(now usage, reserved uint64) uint64 {
	free := now.free
	if !now.freeKnown {
		free = w.removed(now)
	}
	return free - min(reserved, free)
}

func (w *waiting) removed(now usage) uint64 { return w.after.repo - min(now.repo, w.after.repo) }

// lacked notes that a pin failed for lack of space, with so many bytes fetched. It asks the node for what
// it notes, for measureLimit at most.
func (s *space) lacked(ctx context.Context, key cid.Cid, failure error, before usage, fetched uint64) {
	ctx, cancel := context.WithTimeout(ctx, measureLimit)
	defer cancel()
	w := &waiting{reason: reasonOf(failure), since: s.now(), before: before, fetched: fetched, total: s.sizeOf(ctx, key)}
	w.after, _ = s.storage.usage(ctx) // Nothing when it fails: the next try decides.
	s.report(failure)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.waiting[key]; ok || len(s.waiting) < maxWaiting {
		s.waiting[key] = w
	}
}

// sizeOf is the size of content as its root has it, 0 when that is not known.
func (s *space) sizeOf(ctx context.Context, key cid.Cid) uint64 {
	var stat struct{ CumulativeSize uint64 }
	// Not with-local: Kubo walks the content for it, however large, and does not end
	// with the request.
	args := url.Values{"arg": {"/ipfs/" + key.String()}, "offline": {"true"}}
	if err := s.rpc.Call(ctx, "files/stat", args, &stat); err != nil {
		logger.Debugf("the size of %s: %s", key, err)
	}
	return stat.CumulativeSize
}

// reasonOf is the IPFS node's own message in an error of add.
func reasonOf(err error) string {
	_, message, found := strings.Cut(err.Error(), ". Message: ")
	if !found {
		return err.Error()
	}
	return message
}

// forget drops a pin: it is pinned, or not wanted any more.
func (s *space) forget(key cid.Cid) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, key)
}

// idle reports whether nothing waits for space.
func (s *space) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.full && len(s.waiting) == 0
}

// ready returns the pins that wait for space and have it now, the oldest first, as
// many as fit together, and none while the node cannot write. It also forgets in time
// that a storage that cannot be seen is full.
func (s *space) ready(ctx context.Context) []cid.Cid {
	now, err := s.measure(ctx)
	if err != nil {
		logger.Debugf("measuring the storage of the IPFS node: %s", err)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full && len(s.waiting) == 0 && !now.freeKnown && s.now().Sub(s.reported) >= blindMemory {
		s.full = false
	}
	if s.stuck > 0 {
		return nil
	}
	keys := make([]cid.Cid, 0, len(s.waiting))
	for key, w := range s.waiting {
		if !w.trying {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b cid.Cid) int { return s.waiting[a].since.Compare(s.waiting[b].since) })
	reserved := s.reserved
	return slices.DeleteFunc(keys, func(key cid.Cid) bool {
		w := s.waiting[key]
		need := w.need(now)
		if s.blind(w, now) {
			return false
		}
		if w.free(now, reserved) < need {
			return true
		}
		reserved += need
		return false
	})
}

// details are the sentences for GET /ready.
func (s *space) details() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch n := len(s.waiting); {
	case s.stuck > 0:
		return []string{fmt.Sprintf("storage full: the IPFS node still says so with %s free, and is restarted", humanize.Bytes(s.stuck))}
	case n > 0:
		return []string{fmt.Sprintf("storage full: pins that wait for space in the IPFS node: %d", n)}
	case s.full:
		return []string{"storage full: the IPFS node has no space left"}
	default:
		return nil
	}
}
