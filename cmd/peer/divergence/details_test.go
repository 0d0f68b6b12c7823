package divergence

import (
	"context"
	"strings"
	"testing"

	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// A peer whose digest has expired is not taken as equal: it is counted at once, and told unless it is a metric that comes
// late. The log tells it when it lasts.
func TestWatcher_AnExpiredDigestIsNotEqual(t *testing.T) {
	a, _ := sides(t)
	metrics := a.cfg.LatestMetrics
	late := func(n int) {
		a.cfg.LatestMetrics = func(context.Context, string) []api.Metric { return nil }
		a.samples(t, n)
		a.cfg.LatestMetrics = metrics
	}
	a.samples(t, 2)
	if a.Stats() != (Stats{}) || a.other().state != equal {
		t.Fatalf("at first: %+v, %+v", a.other(), a.Stats())
	}
	late(1)
	if m := a.other(); m.state != expired || a.Stats() != (Stats{Unknown: 1}) || len(a.Details()) != 0 {
		t.Errorf("one late metric: %+v, %+v, %q", m, a.Stats(), a.Details())
	}
	a.samples(t, 1)
	if m := a.other(); m.state != equal || a.Stats() != (Stats{}) || m.told {
		t.Errorf("it has come: %+v, %+v", m, a.Stats())
	}
	late(expiredAfter)
	if all := a.Details(); len(all) != 1 || !strings.Contains(all[0], "its digest of its pinset has expired") {
		t.Errorf("told %q", all)
	}
	a.put(t, "key", "mine")
	a.samples(t, 1)
	if m := a.other(); m.state != differing || a.Stats() != (Stats{}) || len(a.Details()) != 0 {
		t.Errorf("it is back and differs: %+v, %+v, %q", m, a.Stats(), a.Details())
	}
	late(samples)
	if m := a.other(); m.state != noDigest || a.Stats().Unknown != 1 || !m.told {
		t.Errorf("for long: %+v, %+v", m, a.Stats())
	}
	a.samples(t, 1)
	if m := a.other(); m.state != differing || !m.told {
		t.Errorf("it publishes again: %+v", m)
	}
}

// What is told stays told while a metric is late.
func TestWatcher_ALateMetricEndsNoDivergence(t *testing.T) {
	a, b := sides(t)
	a.put(t, "key", "mine")
	b.put(t, "key", "theirs")
	a.samples(t, samples+confirmAfter)
	metrics := a.cfg.LatestMetrics
	a.cfg.LatestMetrics = func(context.Context, string) []api.Metric { return nil }
	a.samples(t, 1)
	a.cfg.LatestMetrics = metrics
	a.samples(t, 1)
	if m := a.other(); m.state != diverged || m.diverged != 1 {
		t.Errorf("%+v", m)
	}
}
