package clusterrpc_test

import (
	"fmt"
	"testing"

	"github.com/multiformats/go-multiaddr"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// benchBackend is a backend as in production on a peer that pins at once, with
// n pins. Each has an origin, as clients send it.
func benchBackend(b *testing.B, n int) (*clusterrpc.Backend, *clustertest.Peer, []string) {
	p := clustertest.Start(b, 1, clustertest.Options{})[0]
	backend := clusterrpc.New(p.Client, clusterrpc.Options{Events: p.Events})
	b.Cleanup(backend.Close)
	await.Success(b, "the backend is ready", backend.Ready)
	ids := make([]string, n)
	for i := range ids {
		st, err := backend.Add(b.Context(), "", pinsvc.Pin{
			CID: pinsvctest.RawCID(i), Name: fmt.Sprint("pin ", i), Meta: map[string]string{"app": "bench"}, Origins: []multiaddr.Multiaddr{origin(b, i%3).Value()},
		})
		if err != nil {
			b.Fatal(err)
		}
		ids[i] = st.RequestID
	}
	return backend, p, ids
}

func BenchmarkBackend(b *testing.B) {
	backend, p, ids := benchBackend(b, 2000)
	for _, id := range ids {
		shows(b, backend, id, pinsvc.StatusPinned)
	}
	next := 1 << 20
	run := func(name string, f func(i int) error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := f(i); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	list := func(q pinsvc.Query) func(int) error {
		return func(int) error {
			_, err := backend.List(b.Context(), "", q)
			return err
		}
	}
	run("list 10", list(pinsvc.Query{Limit: 10, Statuses: pinsvc.SetOf(pinsvc.StatusPinned)}))
	run("list 1000", list(pinsvc.Query{Limit: 1000, Statuses: pinsvc.SetOf(pinsvc.StatusPinned)}))
	run("get pinned", func(i int) error {
		_, err := backend.Get(b.Context(), "", ids[i%len(ids)])
		return err
	})
	run("post and delete", func(int) error {
		next++
		st, err := backend.Add(b.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(next)})
		if err != nil {
			return err
		}
		return backend.Delete(b.Context(), "", st.RequestID)
	})
	run("post", func(int) error {
		next++
		_, err := backend.Add(b.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(next)})
		return err
	})
	p.Node.HoldPins(true)
	held := make([]string, 100)
	for i := range held {
		next++
		st, err := backend.Add(b.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(next)})
		if err != nil {
			b.Fatal(err)
		}
		held[i] = st.RequestID
		shows(b, backend, held[i], pinsvc.StatusPinning)
	}
	run("get in flight", func(i int) error {
		_, err := backend.Get(b.Context(), "", held[i%len(held)])
		return err
	})
}
