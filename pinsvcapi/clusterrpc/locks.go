package clusterrpc

import (
	"context"
	"hash/maphash"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// pinLocks make the writes of this peer to one pin follow each other, so that
// none of them reads a record that another is about to change. Pins share a
// fixed number of locks; waiting ends with the context.
type pinLocks struct {
	seed  maphash.Seed
	locks [256]chan struct{}
}

func newPinLocks() *pinLocks {
	l := &pinLocks{seed: maphash.MakeSeed()}
	for i := range l.locks {
		l.locks[i] = make(chan struct{}, 1)
	}
	return l
}

// lock takes the locks of all the pins, in one order for everybody, and
// returns what gives them back.
func (l *pinLocks) lock(ctx context.Context, pins ...cid.Cid) (unlock func(), err error) {
	var which []int
	for _, c := range pins {
		// Both forms of a CID name one pin and need one lock.
		hash := maphash.String(l.seed, pinsvc.PinKey(c))
		which = append(which, int(hash%uint64(len(l.locks))))
	}
	slices.Sort(which)
	which = slices.Compact(which)
	held := 0
	unlock = func() {
		for _, i := range which[:held] {
			<-l.locks[i]
		}
	}
	for _, i := range which {
		select {
		case l.locks[i] <- struct{}{}:
			held++
		case <-ctx.Done():
			unlock()
			return nil, failure(ctx.Err(), "wait for another write to the pin")
		}
	}
	return unlock, nil
}
