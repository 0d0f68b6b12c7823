package integration

import (
	"fmt"
	"slices"
	"testing"
	"time"

	pinclient "github.com/ipfs/boxo/pinning/remote/client"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

var everyStatus = pinclient.PinOpts.FilterStatus(
	pinclient.StatusQueued, pinclient.StatusPinning, pinclient.StatusPinned, pinclient.StatusFailed)

// The Go client library of boxo, which Kubo and others are built on.
func TestBoxoClient(t *testing.T) {
	t.Parallel()
	peer, kubo := service(t)
	client, opts := peer.Client(), pinclient.PinOpts
	first, second := kubo.Add("first"), kubo.Add("second")

	before := time.Now().Add(-time.Second)
	added, err := client.Add(t.Context(), first, opts.WithName("one"), opts.AddMeta(map[string]string{"app": "test", "a b": `"c"`}))
	if err != nil {
		t.Fatal(err)
	}
	if len(added.GetDelegates()) == 0 {
		t.Error("the answer to an add names no delegates")
	}
	if _, err := client.Add(t.Context(), second, opts.WithName("two"), opts.AddMeta(map[string]string{"app": "other"})); err != nil {
		t.Fatal(err)
	}

	t.Run("get", func(t *testing.T) {
		got, err := client.GetStatusByID(t.Context(), added.GetRequestId())
		if err != nil {
			t.Fatal(err)
		}
		if got.GetPin().GetCid() != first || got.GetPin().GetName() != "one" || !got.GetCreated().Equal(added.GetCreated()) {
			t.Errorf("want %v, got %v", added, got)
		}
	})
	lists := []struct {
		name string
		opts []pinclient.LsOption
		want []cid.Cid
	}{
		{"everything, newest first", []pinclient.LsOption{everyStatus}, []cid.Cid{second, first}},
		{"by name", []pinclient.LsOption{everyStatus, opts.FilterName("one")}, []cid.Cid{first}},
		{"by cid", []pinclient.LsOption{opts.FilterCIDs(second)}, []cid.Cid{second}},
		{"by meta", []pinclient.LsOption{everyStatus, opts.LsMeta(map[string]string{"app": "test"})}, []cid.Cid{first}},
		{"by meta that no pin has", []pinclient.LsOption{everyStatus, opts.LsMeta(map[string]string{"app": ""})}, nil},
		{"after the first", []pinclient.LsOption{everyStatus, opts.FilterAfter(added.GetCreated())}, []cid.Cid{second}},
		{"before the first", []pinclient.LsOption{everyStatus, opts.FilterBefore(added.GetCreated())}, nil},
		{"after the start, in pages of one", []pinclient.LsOption{everyStatus, opts.FilterAfter(before), opts.Limit(1)}, []cid.Cid{second, first}},
	}
	for _, test := range lists {
		t.Run("ls "+test.name, func(t *testing.T) {
			pins, err := client.LsSync(t.Context(), test.opts...)
			if err != nil {
				t.Fatal(err)
			}
			var got []cid.Cid
			for _, pin := range pins {
				got = append(got, pin.GetPin().GetCid())
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("want %v, got %v", test.want, got)
			}
		})
	}
	t.Run("replace", func(t *testing.T) {
		third := kubo.Add("third")
		replaced, err := client.Replace(t.Context(), added.GetRequestId(), third, opts.WithName("three"))
		if err != nil {
			t.Fatal(err)
		}
		if replaced.GetPin().GetName() != "three" || len(replaced.GetPin().GetMeta()) != 0 {
			t.Errorf("want the request's own name and meta, got %v", replaced.GetPin())
		}
		if _, err := client.GetStatusByID(t.Context(), added.GetRequestId()); err == nil {
			t.Error("the old request ID is still there")
		}
	})
	t.Run("delete", func(t *testing.T) {
		pins, err := client.LsSync(t.Context(), everyStatus)
		if err != nil {
			t.Fatal(err)
		}
		for _, pin := range pins {
			if err := client.DeleteByID(t.Context(), pin.GetRequestId()); err != nil {
				t.Errorf("deleting %s: %v", pin.GetRequestId(), err)
			}
		}
		if err := client.DeleteByID(t.Context(), added.GetRequestId()); err == nil {
			t.Error("a pin that is not there was deleted")
		}
		if pins, err := client.LsSync(t.Context(), everyStatus); err != nil || len(pins) != 0 {
			t.Errorf("want no pins left, got %v, %v", pins, err)
		}
	})
}

func TestBoxoPagesSeeEveryPinOnce(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peer := h.Peer(harness.InitOptions{})
	peer.Start()
	client := peer.Client()
	const n = 23
	var want []cid.Cid
	for i := range n {
		c := unknown(t, fmt.Sprint(i))
		if _, err := client.Add(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		want = append(want, c)
	}
	slices.Reverse(want)
	for _, limit := range []int{1, 2, 7, 10, 23, 1000} {
		pins, err := client.LsSync(t.Context(), everyStatus, pinclient.PinOpts.Limit(limit))
		if err != nil {
			t.Fatalf("in pages of %d: %v", limit, err)
		}
		var got []cid.Cid
		for _, pin := range pins {
			got = append(got, pin.GetPin().GetCid())
		}
		if !slices.Equal(got, want) {
			t.Errorf("in pages of %d: want %v, got %v", limit, want, got)
		}
	}
}
