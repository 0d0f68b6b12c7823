package peer

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/boxo/datastore/dshelp"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/multiformats/go-multihash"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/crdtstore"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// twoPeers are a cluster of two ready peers that compare their pinsets many times a second.
// The changes are of the second one.
func twoPeers(t *testing.T, kind string, edits []edit, options ...func(*Options)) (first, second *Peer) {
	t.Helper()
	node := externalNode(t, rpcOfID(t, firstID))
	secret := func(sections map[string]map[string]any) { sections["cluster"]["secret"] = strings.Repeat("5a", 32) }
	start := func(edits []edit, options ...func(*Options)) *Peer {
		files := upstreamFiles(t, kind, map[string]string{"crdt": "pebble"}[kind], noAPIs, node, secret)
		editFile(t, files.Config, edits...)
		quick := func(o *Options) { o.PinsetInterval = 100 * time.Millisecond }
		p, _ := newPeer(t, files, append([]func(*Options){quick}, options...)...)
		noError(t, p.Start(t.Context()))
		await.Closed(t, "readiness", p.Ready())
		return p
	}
	first = start(nil)
	second = start(edits, append([]func(*Options){bootstrapTo(first), func(o *Options) { o.NoTrust = true }}, options...)...)
	return first, second
}

// inConsensus edits the section of the CRDT.
func inConsensus(key string, value any) []edit {
	return []edit{func(sections map[string]map[string]any) {
		sections["consensus"]["crdt"].(map[string]any)[key] = value
	}}
}

func pinNamed(t *testing.T, name string) api.Pin {
	t.Helper()
	hash, err := multihash.Sum([]byte(name), multihash.SHA2_256, -1)
	noError(t, err)
	pin := api.PinWithOpts(api.NewCid(cid.NewCidV1(cid.Raw, hash)), api.PinOptions{
		Name: name, ReplicationFactorMin: -1, ReplicationFactorMax: -1, Metadata: map[string]string{"a": "1", "b": "2", "c": "3"},
	})
	pin.Timestamp = time.Unix(1_800_000_000, 0)
	return pin
}

// stateKey is the key of a pin in the shared state.
func stateKey(pin api.Pin) string {
	return dshelp.NewKeyFromBinary(pin.Cid.Bytes()).String()[1:]
}

// named is the name of a pin in a peer's state; "" when it is not there.
func named(p *Peer, pin api.Pin) string {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	st, err := p.consensus.State(ctx)
	if err != nil {
		return err.Error()
	}
	got, err := st.Get(ctx, pin.Cid)
	if err != nil {
		return ""
	}
	return got.Name
}

func sameDigest(first, second *Peer) error {
	a, errA := first.pinset.Current()
	b, errB := second.pinset.Current()
	if errA != nil || errB != nil || a != b {
		return fmt.Errorf("%s (%v) and %s (%v)", a, errA, b, errB)
	}
	return nil
}

// settled waits until both peers have the same pins and know it.
func settled(t *testing.T, first, second *Peer) {
	t.Helper()
	await.Success(t, "the same digest", func() error { return sameDigest(first, second) })
	await.Success(t, "nothing to tell", func() error {
		if all := append(first.details.all(), second.details.all()...); len(all) > 0 {
			return fmt.Errorf("%q", all)
		}
		return nil
	})
}

// Whatever was lost at one peer, it is noticed and repaired there, in the direction that
// elements and tombs say.
func TestDivergence_IsRepaired(t *testing.T) {
	first, second := twoPeers(t, "crdt", nil)
	ctx := t.Context()
	var pins []api.Pin
	for i := range 6 {
		pins = append(pins, pinNamed(t, fmt.Sprint("pin ", i)))
		noError(t, first.consensus.LogPin(ctx, pins[i]))
	}
	settled(t, first, second)

	before := second.watcher.Stats().Repaired // The first changes may come before the peers know each other.

	root := datastore.NewKey("/c")
	key := func(pin api.Pin, parts ...string) datastore.Key {
		return root.ChildString(strings.ReplaceAll(strings.Join(parts, "/"), "KEY", stateKey(pin)))
	}
	members := func(p *Peer, pin api.Pin) crdtstore.Members {
		m, err := p.crdtStore.Members(ctx, stateKey(pin))
		noError(t, err)
		return m
	}
	// The value alone is lost at the second peer.
	noError(t, second.pinset.Delete(ctx, key(pins[0], "s/k/KEY/v")))
	noError(t, second.pinset.Delete(ctx, key(pins[0], "s/k/KEY/p")))
	// An element never came to the second peer.
	hole := members(second, pins[1])
	noError(t, second.pinset.Delete(ctx, key(pins[1], "s/s/KEY", hole.Live[0])))
	noError(t, second.pinset.Delete(ctx, key(pins[1], "b/blocks", hole.Live[0])))
	noError(t, second.pinset.Delete(ctx, key(pins[1], "s/k/KEY/v")))
	noError(t, second.pinset.Delete(ctx, key(pins[1], "s/k/KEY/p")))
	// A delete of the first peer never came to the second.
	noError(t, first.pinset.Put(ctx, key(pins[2], "s/t/KEY", members(first, pins[2]).Live[0]), nil))
	noError(t, first.pinset.Delete(ctx, key(pins[2], "s/k/KEY/v")))
	noError(t, first.pinset.Delete(ctx, key(pins[2], "s/k/KEY/p")))
	// Another value than that of the elements.
	wrong := pins[3]
	wrong.Name = "wrong"
	value, err := wrong.ProtoMarshal()
	noError(t, err)
	noError(t, second.pinset.Put(ctx, key(pins[3], "s/k/KEY/v"), value))

	await.Success(t, "the repair", func() error {
		for i, want := range []string{"pin 0", "pin 1", "", "pin 3", "pin 4", "pin 5"} {
			for _, p := range []*Peer{first, second} {
				if got := named(p, pins[i]); got != want {
					return fmt.Errorf("pin %d is %q, want %q", i, got, want)
				}
			}
		}
		return nil
	})
	settled(t, first, second)
	stats := second.watcher.Stats()
	if stats.Repaired-before != 4 || stats.Differing != 0 || first.watcher.Stats().Repaired != 0 {
		t.Errorf("the second peer repaired %+v, the first %+v", stats, first.watcher.Stats())
	}
	// The deleted pin stays so when it is written again and deleted again.
	noError(t, second.consensus.LogPin(ctx, pins[2]))
	settled(t, first, second)
	noError(t, first.consensus.LogUnpin(ctx, pins[2]))
	await.Success(t, "the delete", func() error {
		if got := named(second, pins[2]) + named(first, pins[2]); got != "" {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	settled(t, first, second)
}

// told waits until a peer tells a text in GET /ready.
func told(t *testing.T, p *Peer, text string) {
	t.Helper()
	await.Success(t, "telling: "+text, func() error {
		if all := p.details.all(); !strings.Contains(strings.Join(all, "\n"), text) {
			return fmt.Errorf("%q, %+v", all, p.watcher.Stats())
		}
		return nil
	})
}

// A peer of another cluster_name is told; its pins are not taken over.
func TestDivergence_TellsOfAnotherClusterName(t *testing.T) {
	first, second := twoPeers(t, "crdt", inConsensus("cluster_name", "another"))
	pin := pinNamed(t, "of the first")
	noError(t, first.consensus.LogPin(t.Context(), pin))
	for _, p := range []*Peer{first, second} {
		told(t, p, "1 of 1 other peer: its pinset differs from this peer's because it is of another cluster (cluster.cluster_name)")
	}
	if got := named(second, pin); got != "" {
		t.Errorf("the pin of another cluster was taken over: %q", got)
	}
}

// Trust that is not mutual is told on both sides.
func TestDivergence_TellsOfOneSidedTrust(t *testing.T) {
	first, second := twoPeers(t, "crdt", inConsensus("trusted_peers", []string{}))
	noError(t, first.consensus.LogPin(t.Context(), pinNamed(t, "of the first")))
	told(t, first, "it does not trust this peer (consensus.crdt.trusted_peers there)")
	told(t, second, "which does not trust it (consensus.crdt.trusted_peers)")
}

// A peer without a digest is never taken as equal.
func TestDivergence_TellsOfAPeerWithoutADigest(t *testing.T) {
	// The second peer has none for the first hour.
	first, _ := twoPeers(t, "crdt", nil, func(o *Options) { o.PinsetInterval = time.Hour })
	told(t, first, "1 of 1 other peer: it publishes no digest of its pinset, so whether it has the same pins is not known")
	if stats := first.watcher.Stats(); stats.Unknown != 1 || stats.Differing != 0 {
		t.Errorf("%+v", stats)
	}
}
