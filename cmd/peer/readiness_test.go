package peer

import (
	"context"
	"testing"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// countingInformer counts how often it is asked.
type countingInformer struct {
	ipfscluster.Informer
	asked int
}

func (c *countingInformer) Name() string { return "freespace" }

func (c *countingInformer) GetMetrics(context.Context) []api.Metric {
	c.asked++
	m := api.Metric{Name: c.Name(), Value: "7", Valid: true}
	m.SetTTL(deadline)
	return []api.Metric{m}
}

func TestInformerIsNotAskedBeforeTheNodeIsThere(t *testing.T) {
	inner, ready := &countingInformer{}, newGate()
	informer := patient{inner, ready}
	early := informer.GetMetrics(t.Context())
	if inner.asked != 0 || len(early) != 1 || !early[0].Discard() || early[0].Name != "freespace" {
		t.Errorf("asked %d times, got %v", inner.asked, early)
	}
	ready.pass()
	if late := informer.GetMetrics(t.Context()); inner.asked != 1 || len(late) != 1 || late[0].Discard() {
		t.Errorf("asked %d times, got %v", inner.asked, late)
	}
}
