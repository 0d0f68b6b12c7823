package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/mr-tron/base58"
	"github.com/multiformats/go-multihash"
)

// The pins of a run: pin i of a pinset has a CID of 59 characters, a name of
// 20, one meta pair, and was made i milliseconds after the first. It has the
// origins of its client's node, as Kubo sends them, unless it is one of the
// oldest, which are for comparison.

// The series keep apart the pins that are there at the start and those that
// are made by one API or the other.
const (
	seriesSeeded = iota
	seriesHeld
	seriesOurs
	seriesUpstream
	seriesLimit
)

// firstCreated is when pin 0 was made.
var firstCreated = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// metaShare is how many pins share one value of the meta pair.
const metaShare = 1000

func pinCID(series, i int) cid.Cid {
	var seed [16]byte
	binary.BigEndian.PutUint64(seed[:8], uint64(series))
	binary.BigEndian.PutUint64(seed[8:], uint64(i))
	digest := sha256.Sum256(seed[:])
	hash, err := multihash.Encode(digest[:], multihash.SHA2_256)
	if err != nil {
		panic(err) // The length is right by construction.
	}
	return cid.NewCidV1(cid.DagProtobuf, hash)
}

func pinName(i int) string { return fmt.Sprintf("photo-%014d", i) }

// namePart is a part of some names: about 4 in 1,000 of a large pinset.
const namePart = "777"

func namesWithPart(n int) (count int) {
	for i := range n {
		if strings.Contains(pinName(i), namePart) {
			count++
		}
	}
	return count
}

func pinCreated(i int) time.Time {
	return firstCreated.Add(time.Duration(i) * time.Millisecond)
}

// metaValue is such that about one pin in metaShare has it.
func metaValue(n, i int) string { return fmt.Sprint(i % max(1, n/metaShare)) }

// plainPins are how many of n pins, the oldest, have no origins.
func plainPins(n int) int { return min(1000, n/2) }

// A client's node has four addresses, makes 50 pins in a row, and there are 100
// clients.
const pinsInARow, clients = 50, 100

// clientOrigins are the addresses of the node of the client that made pin i. They are shared
// and read-only.
func clientOrigins(i int) []api.Multiaddr { return originsOfClients()[i/pinsInARow%clients] }

var originsOfClients = sync.OnceValue(func() [][]api.Multiaddr {
	all := make([][]api.Multiaddr, clients)
	for client := range all {
		all[client] = originsOf(client)
	}
	return all
})

func originsOf(client int) []api.Multiaddr {
	digest := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(client)))
	id, err := multihash.Encode(digest[:], multihash.SHA2_256)
	if err != nil {
		panic(err) // The length is right by construction.
	}
	node := "/p2p/" + base58.Encode(id)
	var origins []api.Multiaddr
	for _, transport := range []string{"/ip4/198.51.100.%d/tcp/4001", "/ip4/198.51.100.%d/udp/4001/quic-v1", "/ip6/2001:db8::%d/tcp/4001", "/dns4/node-%d.example.net/tcp/443/tls/ws"} {
		addr, err := api.NewMultiaddr(fmt.Sprintf(transport, client) + node)
		if err != nil {
			panic(err) // They are right by construction.
		}
		origins = append(origins, addr)
	}
	return origins
}

// record is pin i of n as our API has the cluster write it.
func record(n, i int) api.Pin {
	c := pinCID(seriesSeeded, i)
	created := pinCreated(i)
	rec := api.PinWithOpts(api.NewCid(c), api.PinOptions{
		ReplicationFactorMin: -1,
		ReplicationFactorMax: -1,
		Name:                 pinName(i),
		Metadata: map[string]string{
			"album":          metaValue(n, i),
			"pinsvc.created": created.Format("2006-01-02T15:04:05.000Z") + " " + c.String(),
		},
	})
	rec.Timestamp = created.Truncate(time.Second)
	if i >= plainPins(n) {
		rec.Origins = clientOrigins(i)
	}
	return rec
}

// cids are those of all pins of a pinset.
func cids(n int) iter.Seq[cid.Cid] {
	return func(yield func(cid.Cid) bool) {
		for i := range n {
			if !yield(pinCID(seriesSeeded, i)) {
				return
			}
		}
	}
}
