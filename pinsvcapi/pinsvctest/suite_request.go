package pinsvctest

import (
	"fmt"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multihash"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

const providerID = "/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"

// origins are two addresses of a provider.
func origins(t testing.TB) []multiaddr.Multiaddr {
	t.Helper()
	var addrs []multiaddr.Multiaddr
	for _, text := range []string{"/ip4/203.0.113.9/tcp/4001", "/ip4/192.168.1.9/udp/4001/quic-v1"} {
		addrs = append(addrs, parseAddr(t, text+providerID))
	}
	return addrs
}

// manyOrigins are n addresses of a provider.
func manyOrigins(t testing.TB, n int) []multiaddr.Multiaddr {
	t.Helper()
	var addrs []multiaddr.Multiaddr
	for i := range n {
		addrs = append(addrs, parseAddr(t, fmt.Sprintf("/ip4/8.8.%d.8/tcp/4001%s", i, providerID)))
	}
	return addrs
}

func parseAddr(t testing.TB, text string) multiaddr.Multiaddr {
	t.Helper()
	addr, err := multiaddr.NewMultiaddr(text)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// unpinnableCID is a CID that no IPFS node can pin: an IPNS name.
func unpinnableCID() cid.Cid { return cid.NewCidV1(cid.Libp2pKey, digest(1)) }

func testUnpinnable(t *testing.T, s suite) {
	held := s.add(pinsvc.Pin{CID: RawCID(1), Name: "held"})
	short, err := multihash.Encode([]byte("short"), multihash.SHA2_256)
	if err != nil {
		t.Fatal(err)
	}
	invalid, err := multihash.Encode([]byte("hello"), multihash.IDENTITY)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []cid.Cid{
		unpinnableCID(), cid.NewCidV1(cid.Raw, short),
		cid.NewCidV1(cid.BitcoinBlock, digest(1)), cid.NewCidV1(cid.DagCBOR, invalid),
	} {
		_, err := s.Backend.Add(t.Context(), user, pinsvc.Pin{CID: c})
		wantKind(t, "Add", err, pinsvc.KindBadRequest)
		_, err = s.Backend.Replace(t.Context(), user, held.RequestID, pinsvc.Pin{CID: c})
		wantKind(t, "Replace", err, pinsvc.KindBadRequest)
		s.gone(c.String())
	}
	samePin(t, s.get(held.RequestID).Pin, pinsvc.Pin{CID: RawCID(1), Name: "held"})
}

func testOrigins(t *testing.T, s suite) {
	for i, n := range []int{pinsvc.MaxOrigins, 1, 2, 0} {
		pin := pinsvc.Pin{CID: RawCID(1), Origins: manyOrigins(t, n)}
		if i == 2 { // Their order is the client's.
			pin.Origins[0], pin.Origins[1] = pin.Origins[1], pin.Origins[0]
		}
		st := s.add(pin)
		samePin(t, st.Pin, pin)
		got := s.get(st.RequestID)
		samePin(t, got.Pin, pin)
		samePin(t, s.list(pinsvc.Query{}).Results[0].Pin, pin)
		for _, st := range []pinsvc.PinStatus{st, got} {
			if raw := pinsvc.RawOrigins(st.Pin.Origins); st.RawOrigins != "" && st.RawOrigins != raw {
				t.Errorf("rendered origins %s, want %s", st.RawOrigins, raw)
			}
		}
	}
	// Pins that share their origins, and one that does not.
	for i := range 3 {
		s.add(pinsvc.Pin{CID: RawCID(i), Origins: manyOrigins(t, 2+i/2)})
	}
	for _, st := range s.list(pinsvc.Query{}).Results {
		want := 2
		if st.Pin.CID == RawCID(2) {
			want = 3
		}
		if len(st.Pin.Origins) != want {
			t.Errorf("%s has %d origins, want %d", st.RequestID, len(st.Pin.Origins), want)
		}
	}
}

func testDroppedOrigins(t *testing.T, s suite) {
	good := "/ip4/8.8.8.8/tcp/4001" + providerID
	body := `{"cid":"` + RawCID(1).String() + `","origins":["/ip4/1.2.3.4/udp/4001/newproto` + providerID + `","` + good + `",""]}`
	pin, dropped, err := new(pinsvc.Decoder).Decode([]byte(body))
	if err != nil || dropped.Unknown != 2 {
		t.Fatalf("dropped %+v, %v", dropped, err)
	}
	want := pinsvc.Pin{CID: RawCID(1), Origins: []multiaddr.Multiaddr{parseAddr(t, good)}}
	st := s.add(pin)
	samePin(t, st.Pin, want)
	samePin(t, s.get(st.RequestID).Pin, want)
}

func testElsewhereOrigins(t *testing.T, s suite) {
	pin := pinsvc.Pin{CID: RawCID(1), Origins: manyOrigins(t, pinsvc.MaxOrigins+5)}
	s.PinElsewhere(t, time.UnixMilli(1_790_000_000_000), pin)
	for _, st := range []pinsvc.PinStatus{s.get(RawCID(1).String()), s.list(pinsvc.Query{}).Results[0]} {
		if n := len(st.Pin.Origins); n != pinsvc.MaxOrigins {
			t.Errorf("%d origins, want %d", n, pinsvc.MaxOrigins)
		}
	}
}
