package statewrite

import (
	"context"

	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// SettleUncommitted reads the state for uncommitted writes, which ends those that it
// shows. It is called about once a second.
func (w *Writer) SettleUncommitted(ctx context.Context) {
	due, over := w.cfg.Syncer.Uncommitted().Age()
	for _, key := range over {
		if _, _, err := w.cfg.Syncer.Get(ctx, api.NewCid(key)); err != nil {
			w.cfg.Syncer.RequestResync() // The view still has the write.
		}
	}
	for _, key := range due {
		if _, _, err := w.cfg.Syncer.Get(ctx, api.NewCid(key)); err != nil {
			return // The state is unavailable and shows nothing.
		}
	}
}
