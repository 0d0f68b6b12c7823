package peer

import (
	"context"
	"testing"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// countingInformer counts its calls.
type countingInformer struct {
	ipfscluster.Informer
	calls int
}

func (c *countingInformer) Name() string { return "freespace" }

func (c *countingInformer) GetMetrics(context.Context) []api.Metric {
	c.calls++
	m := api.Metric{Name: c.Name(), Value: "7", Valid: true}
	m.SetTTL(deadline)
	return []api.Metric{m}
}

func TestReadyInformer_IsSilentBeforeTheNodeIsReady(t *testing.T) {
	inner, ready := &countingInformer{}, newGate()
	informer := readyInformer{inner, ready}
	early := informer.GetMetrics(t.Context())
	if inner.calls != 0 || len(early) != 1 || !early[0].Discard() || early[0].Name != "freespace" {
		t.Errorf("called %d times, got %v", inner.calls, early)
	}
	ready.pass()
	if late := informer.GetMetrics(t.Context()); inner.calls != 1 || len(late) != 1 || late[0].Discard() {
		t.Errorf("called %d times, got %v", inner.calls, late)
	}
}
