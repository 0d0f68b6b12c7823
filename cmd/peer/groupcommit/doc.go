// Package groupcommit commits the writes of one peer to a shared state in groups (D12): what
// arrives while a commit runs shares the next one, and each write is answered when its commit is
// on the disk and the state shows it. A write that is alone waits for nothing but the disk.
//
// One goroutine makes all commits. Its writes are answered when the commit is synced; the other peers
// are told of it after that, while the clients go on. The writes of one key keep their order, and a key stands once
// in a commit. A write that fails by itself does not fail its neighbours. A commit that fails is
// committed again before anything else is accepted, because the state cannot forget it.
//
// The package knows the state and what a commit did to it (Effects), not the engine behind them.
package groupcommit

import (
	"context"
	"errors"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// State is what is committed to: the state.BatchingState of the cluster's CRDT. Add and Rm put a
// write into the commit that is being made; Commit commits it. They are called by one goroutine, and Get
// by many at the same time.
type State interface {
	Add(context.Context, api.Pin) error
	Rm(context.Context, api.Cid) error
	Get(context.Context, api.Cid) (api.Pin, error)
	Commit(context.Context) error
}

// Effect is what a commit did to the value of a key.
type Effect uint8

// The effects.
const (
	// EffectNone means that the commit did not touch the value, as far as is known.
	EffectNone Effect = iota
	// EffectAdded means that the written value is the state's.
	EffectAdded
	// EffectRemoved means that the state has no value.
	EffectRemoved
	// EffectKept means that a value survived the removal.
	EffectKept
)

// Effects tells what one commit did. It is asked after Commit, or after an Add or Rm that failed.
type Effects interface {
	// Begun reports whether the commit has reached the store.
	Begun() bool
	// Synced reports whether the commit is on the disk, whatever failed after that.
	Synced() bool
	// Before returns the record, if there was one, that the state had of a key when Add put another
	// into the commit. known is false when Add did not.
	Before(api.Cid) (rec api.Pin, there, known bool)
	// Undo returns a context, made of one for the commit that is made in the place of this one, which
	// failed. With it Rm takes a key that was added out of the commit that is being made, and removes
	// what this one, and those in whose place it was made, may have left of it. Nothing else is removed,
	// and nothing of a commit that other peers were told of. Get returns the record that the state would
	// have without that.
	Undo(ctx context.Context, told bool) context.Context
	// Err returns an error of the store that Commit did not return, so that it told other peers.
	Err() error
	// Of returns what the commit did to a key.
	Of(api.Cid) Effect
	// OnSynced has f called when the commit is on the disk and its effects are known: within
	// Commit, before other peers are told of it. It is called once at most.
	OnSynced(f func())
}

// Incoming are the changes of other peers that are on their way to the state. Its methods are called
// by many goroutines, and must not block.
type Incoming interface {
	// Mark is a mark of now.
	Mark() uint64
	// Awaits reports whether changes are still to come that were on their way at a mark. Those that
	// set out later were made at the same time as what came at the mark, as far as can be known.
	Awaits(mark uint64) bool
	// Came has a value after some have come.
	Came() <-chan struct{}
}

// nothingIncoming is a state that only this peer writes.
type nothingIncoming struct{}

func (nothingIncoming) Mark() uint64          { return 0 }
func (nothingIncoming) Awaits(uint64) bool    { return false }
func (nothingIncoming) Came() <-chan struct{} { return nil }

type marksKey struct{}

// Marks returns the marks of Incoming at which the writes of a commit came, by its context.
func Marks(ctx context.Context) map[api.Cid]uint64 {
	group, _ := ctx.Value(marksKey{}).([]*write)
	marks := make(map[api.Cid]uint64, len(group))
	for _, w := range group {
		marks[w.pin.Cid] = w.mark
	}
	return marks
}

// withMarks returns the context of a commit.
func withMarks(group []*write) context.Context {
	return context.WithValue(context.Background(), marksKey{}, group)
}

// Defaults of Config.
const (
	// DefaultMaxGroup bounds a commit: the CRDT computes the size of the whole delta anew for
	// each write that it adds.
	DefaultMaxGroup = 256
	// DefaultMaxBytes stays well below the 1 MiB at which go-ds-crdt commits by itself.
	DefaultMaxBytes = 768 << 10
	// DefaultMaxQueue is how many writes may wait.
	DefaultMaxQueue = 50000
	// DefaultRetryMin and DefaultRetryMax are the pauses before a failed commit is tried again.
	DefaultRetryMin, DefaultRetryMax = 50 * time.Millisecond, 5 * time.Second
	// DefaultMaxTime is how long a try of a commit may take: a disk that works takes less.
	DefaultMaxTime = time.Minute
)

// Config is what a Committer needs. State and Watch must be set; the zero value of another field
// stands for its default.
type Config struct {
	State State
	// Watch returns the context for one commit, and its effects. Its context has the Marks.
	Watch func(context.Context) (context.Context, Effects)
	// Incoming are the changes of other peers. A removal, and a change of a record, wait for those that
	// were on their way when it came, or what comes later would undo it. nil: there never are any.
	Incoming Incoming
	// MaxGroup and MaxBytes bound the writes of one commit, MaxQueue those that wait.
	MaxGroup, MaxBytes, MaxQueue int
	// Linger, if positive, is how long a write may wait for others to share its commit;
	// LingerSize writes end the wait.
	Linger     time.Duration
	LingerSize int
	// NoWait accepts a write when it is queued: one that has to wait for Incoming, when it has. It may
	// then be lost with the process until it is committed.
	NoWait bool
	// RetryMin and RetryMax bound the pauses before a failed commit is tried again.
	RetryMin, RetryMax time.Duration
	// MaxTime is the deadline of the contexts of a commit. One that still does not end is told.
	MaxTime time.Duration
	// Metrics may be nil.
	Metrics *Metrics
	// OnLate is called with each change that is on the disk after its write was answered with an
	// error: before other peers are told of it, so that whoever has a view of the state is not the last
	// to know. found is false for a removal; then only the CID of rec counts. It must not block. nil:
	// nobody is told.
	OnLate func(rec api.Pin, found bool)
}

func (c *Config) setDefaults() {
	orDefault(&c.MaxGroup, DefaultMaxGroup)
	orDefault(&c.MaxBytes, DefaultMaxBytes)
	orDefault(&c.MaxQueue, DefaultMaxQueue)
	orDefault(&c.LingerSize, c.MaxGroup)
	orDefault(&c.RetryMin, DefaultRetryMin)
	orDefault(&c.RetryMax, max(c.RetryMin, DefaultRetryMax))
	orDefault(&c.MaxTime, DefaultMaxTime)
	if c.Incoming == nil {
		c.Incoming = nothingIncoming{}
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics()
	}
	if c.OnLate == nil {
		c.OnLate = func(api.Pin, bool) {}
	}
}

func orDefault[T int | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// ErrUndoFirst is the error of a commit that is made in the place of one that failed, of which nothing is
// done: it would leave something behind that the next try undoes.
var ErrUndoFirst = errors.New("what a failed try has left is to be undone first")

// Errors of Pin and Unpin. Their texts are read by clusterapi.CauseOf, also at other peers.
var (
	// ErrUncertain is the error of a write whose commit failed or did not end in time.
	ErrUncertain = errors.New("the commit has not succeeded, and the change may still take effect")
	// ErrUnavailable is the error of a write that was not begun, because the commits fail.
	ErrUnavailable = errors.New("the store of the shared state takes no writes")
	// ErrChanged is the error of a write with a condition that the record in the state does not meet.
	ErrChanged = errors.New("the record has changed meanwhile")
	// ErrBehind is the error of a write that waited for older changes of other peers. It is not
	// begun, unless it is ErrUncertain too.
	ErrBehind = errors.New("this peer is still catching up with the cluster")
	// ErrQueueFull is the error of a write when too many wait.
	ErrQueueFull = errors.New("too many writes wait to be committed: max_queue_size reached")
	// ErrClosed is the error of a write after Close.
	ErrClosed = errors.New("the peer is shutting down")
)
