package divergence

import (
	"context"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	rpc "github.com/libp2p/go-libp2p-gorpc"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/digest"
)

// MetricName is the name of the metric by which peers publish the digest of their pinset.
const MetricName = "pinset"

var _ ipfscluster.Informer = (*Informer)(nil)

// Informer publishes the digest of a pinset, once there is one.
type Informer struct {
	// Pinset has the digest.
	Pinset *digest.Store
	// Interval is the time between two of them; 0: DefaultInterval.
	Interval time.Duration
}

// Name implements ipfscluster.Informer.
func (i *Informer) Name() string { return MetricName }

// GetMetrics implements ipfscluster.Informer. Without a digest the metric is empty: one that
// is not valid would not be sent, and the next not before 15 seconds later.
func (i *Informer) GetMetrics(context.Context) []api.Metric {
	m := api.Metric{Name: MetricName, Valid: true}
	interval := i.Interval
	if interval <= 0 {
		interval = DefaultInterval
	}
	if d, err := i.Pinset.Current(); err == nil {
		m.Value = d.String()
	}
	m.SetTTL(2 * interval) // The cluster publishes at half of it.
	return []api.Metric{m}
}

// SetClient implements ipfscluster.Component.
func (i *Informer) SetClient(*rpc.Client) {}

// Shutdown implements ipfscluster.Component.
func (i *Informer) Shutdown(context.Context) error { return nil }
