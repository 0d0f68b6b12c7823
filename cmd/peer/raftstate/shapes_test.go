//go:build !race || nocheckptr

package raftstate

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"
)

// shapes makes pins of every shape from a seed, which the test prints. RAFTSTATE_SEED replays one.
type shapes struct {
	*rand.Rand
	t     *testing.T
	peers []peer.ID
}

func newShapes(t *testing.T, all []*member) *shapes {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("RAFTSTATE_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		noError(t, err)
	}
	t.Logf("RAFTSTATE_SEED=%d", seed)
	s := &shapes{Rand: rand.New(rand.NewPCG(seed, 0)), t: t}
	for _, m := range all {
		s.peers = append(s.peers, m.id)
	}
	return s
}

func cidOf(n int) api.Cid {
	hash, err := multihash.Sum(fmt.Appendf(nil, "content %d", n), multihash.SHA2_256, -1)
	if err != nil {
		panic(err) // It is built in.
	}
	return api.NewCid(cid.NewCidV1(cid.Raw, hash))
}

func (s *shapes) coin() bool { return s.IntN(2) == 0 }

// pin makes a pin of that CID with each field or without, whatever they mean together.
func (s *shapes) pin(c api.Cid) api.Pin {
	pin := api.Pin{Cid: c, Type: []api.PinType{api.DataType, api.MetaType, api.ClusterDAGType, api.ShardType}[s.IntN(4)]}
	pin.Timestamp = time.Now()
	if s.coin() {
		pin.MaxDepth = -1 // Recursive; a direct pin has 0.
	}
	if s.coin() {
		pin.Name = fmt.Sprint("name ", s.IntN(1000))
	}
	if s.coin() {
		pin.ReplicationFactorMin, pin.ReplicationFactorMax = -1, -1
	} else if s.coin() {
		pin.ReplicationFactorMin, pin.ReplicationFactorMax = 1, 1+s.IntN(3)
	}
	for range s.IntN(4) {
		pin.Allocations = append(pin.Allocations, s.peers[s.IntN(len(s.peers))])
	}
	if n := s.IntN(4); n > 0 {
		pin.Metadata = make(map[string]string)
		for range n {
			pin.Metadata[fmt.Sprint("key", s.IntN(6))] = fmt.Sprint("value ", s.IntN(1000))
		}
	}
	for range s.IntN(3) {
		origin, err := api.NewMultiaddr(fmt.Sprintf("/ip4/203.0.113.%d/tcp/4001/p2p/%s", s.IntN(200), s.peers[0]))
		noError(s.t, err)
		pin.Origins = append(pin.Origins, origin)
	}
	if s.coin() {
		pin.ExpireAt = time.Now().Add(time.Duration(1+s.IntN(1000)) * time.Hour)
	}
	if s.coin() {
		reference := cidOf(-1 - s.IntN(100))
		pin.Reference = &reference
	}
	if s.coin() {
		pin.PinUpdate = cidOf(-1 - s.IntN(100))
	}
	if s.coin() {
		pin.ShardSize = uint64(s.IntN(1 << 20))
	}
	return pin
}
