//go:build !race || nocheckptr

package raftstate

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// fromLeader reads rows as the leader has them.
func fromLeader(ctx context.Context, lead *member, cids ...api.Cid) (rows []Row, err error) {
	if err := lead.ours.LeaderBarrier(ctx); err != nil {
		return nil, err
	}
	for _, c := range cids {
		key := lead.ours.store.key(c)
		record, err := lead.store.Get(ctx, key)
		if err != nil {
			record = nil
		}
		rows = append(rows, Row{Key: key.BaseNamespace(), Record: record})
	}
	return rows, nil
}

// Rows of a damaged state become those of the leader, but no row that was changed by the log while the
// leader was asked.
func TestConsensus_RewritesRowsAsTheLeaderHasThem(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	all := members(t, 3, 0, nil)
	lead := leader(t, all)
	hurt := all[0]
	if hurt == lead {
		hurt = all[1]
	}
	asked := write(t, lead, 0, 5)
	await.Success(t, "all pins", func() error { return hurt.expect(asked) })
	lost, changed, removed, stray := cidOf(0), cidOf(1), cidOf(2), cidOf(99)
	for _, c := range []api.Cid{lost, changed, removed} {
		noError(t, hurt.store.Delete(ctx, hurt.ours.store.key(c)))
	}
	noError(t, hurt.store.Put(ctx, hurt.ours.store.key(stray), mustProto(t, api.PinCid(stray))))

	if err := hurt.ours.LeaderBarrier(ctx); !errors.Is(err, ErrNotLeader) {
		t.Errorf("a follower's barrier: %v", err)
	}
	newer := asked[changed]
	newer.Name = "newer"
	done, err := hurt.ours.Rewrite(ctx, func(ctx context.Context) ([]Row, error) {
		rows, err := fromLeader(ctx, lead, lost, changed, removed, stray, cidOf(3))
		noError(t, err)
		// The answer is under way while these are committed and applied here.
		noError(t, lead.consensus.LogPin(ctx, newer))
		noError(t, lead.consensus.LogUnpin(ctx, api.PinCid(removed)))
		asked[changed] = newer
		delete(asked, removed)
		await.Success(t, "the changes", func() error {
			if pin, err := hurt.get(changed); err != nil || pin.Name != "newer" {
				return errors.Join(errors.New("not applied"), err)
			}
			return nil
		})
		return rows, hurt.ours.barrier(ctx)
	})
	noError(t, err)
	want := []string{hurt.ours.store.key(lost).BaseNamespace(), hurt.ours.store.key(stray).BaseNamespace()}
	if !slices.Equal(done, want) {
		t.Errorf("rewrote %q, want %q", done, want)
	}
	await.Success(t, "the state of the leader", func() error { return errors.Join(lead.expect(asked), hurt.expect(asked)) })
	// Its own snapshot has the same.
	hurt.restart(all)
	hurt.awaitSync()
	noError(t, hurt.expect(asked))
}

// Nothing is rewritten beside a snapshot that is being restored.
func TestStore_RewritesNothingWhileASnapshotIsRestored(t *testing.T) {
	s := newApplied(t).store
	w := s.watch()
	defer s.unwatch(w)
	s.beginRestore()
	s.endRestore()
	row := Row{Key: s.key(cidOf(1)).BaseNamespace(), Record: mustProto(t, api.PinCid(cidOf(1)))}
	if _, err := s.rewrite(t.Context(), w, []Row{row}); err == nil {
		t.Error("a row was rewritten")
	}
	if has, err := s.Has(t.Context(), s.key(cidOf(1))); has || err != nil {
		t.Errorf("it is there: %t, %v", has, err)
	}
}
