package statesync

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"pgregory.net/rapid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// uncommittedModel is one key of a cluster whose writes commit in order, late, in
// batches or never, and the Uncommitted under test. An accepted write commits within
// commitTime or is lost.
type uncommittedModel struct {
	t     *rapid.T
	clock clusterfake.Clock
	u     *Uncommitted
	key   cid.Cid
	state Versioned
	// accepted are the writes of this peer that are neither committed nor lost.
	accepted []acceptedWrite
	// want is what a reader of this peer has to see.
	want Versioned
	// anyWant: another peer wrote while writes of this peer were on their way, and they
	// still are. Which of them wins is for the cluster to decide.
	anyWant bool
	// submitting: a write is submitted and not yet known to the table.
	submitting bool
	// reliable: nothing is lost and nothing fails any more.
	reliable bool
	foreign  int
}

type acceptedWrite struct {
	after Versioned
	at    time.Time
}

const modelCommitTime = time.Minute

func newUncommittedModel(t *rapid.T) *uncommittedModel {
	m := &uncommittedModel{t: t, key: pinsvctest.RawCID(1)}
	m.u = NewUncommitted(m.clock.Now, modelCommitTime, false)
	return m
}

func describe(v Versioned) string {
	if !v.Found {
		return "none"
	}
	return v.Rec.Name + " " + v.Rec.Metadata["tag"]
}

// read is what the syncer does.
func (m *uncommittedModel) read() Versioned {
	seq := m.u.Sequence()
	return m.u.Resolve(m.key, seq, m.state)
}

func (m *uncommittedModel) check() {
	if got := m.read(); !m.anyWant && !m.submitting && got.form() != m.want.form() {
		m.t.Fatalf("read %q, want %q; the state has %q, %d writes are on their way", describe(got), describe(m.want), describe(m.state), len(m.accepted))
	}
}

// commit commits the oldest n accepted writes as one batch, and announces each before
// the state shows the batch or after.
func (m *uncommittedModel) commit(n int) {
	batch := m.accepted[:n]
	m.accepted = m.accepted[n:]
	announce := func() {
		for _, w := range batch {
			m.announce(w.after)
		}
	}
	early := rapid.Bool().Draw(m.t, "announced before the commit")
	if early {
		announce()
		if rapid.Bool().Draw(m.t, "read in between") {
			m.check()
		}
	}
	if n > 0 {
		m.state = batch[n-1].after
	}
	if !early && rapid.Bool().Draw(m.t, "announced at all") {
		announce()
	}
}

func (m *uncommittedModel) announce(v Versioned) {
	if v.Found {
		m.u.announced(Event{CID: m.key, Written: v.Rec.Timestamp, Form: v.form()})
	} else {
		m.u.announced(Event{CID: m.key, Removed: true})
	}
}

func (m *uncommittedModel) commitSome() {
	m.commit(rapid.IntRange(0, len(m.accepted)).Draw(m.t, "commit"))
}

func (m *uncommittedModel) loseOne() {
	if n := len(m.accepted); n > 0 && !m.reliable {
		i := rapid.IntRange(0, n-1).Draw(m.t, "lost")
		m.accepted = append(m.accepted[:i:i], m.accepted[i+1:]...)
	}
}

// others is what may happen while a write is submitted.
func (m *uncommittedModel) others() {
	m.submitting = true
	defer func() { m.submitting = false }()
	for range rapid.IntRange(0, 3).Draw(m.t, "others") {
		switch rapid.IntRange(0, 2).Draw(m.t, "what") {
		case 0:
			m.commitSome()
		case 1:
			m.read()
		default:
			m.loseOne()
		}
	}
}

func (m *uncommittedModel) accept(after Versioned) {
	if len(m.accepted) == 0 {
		m.anyWant = false
	}
	m.accepted = append(m.accepted, acceptedWrite{after, m.clock.Now()})
}

// put is statewrite.Writer.Put.
func (m *uncommittedModel) put(mutation Mutation) {
	before := m.read()
	after := mutation.Apply(before)
	m.accept(after)
	m.others()
	m.u.add(Write{Key: m.key, Mutation: mutation, Before: before, After: after})
	m.wrote(after)
}

// remove is statewrite.Writer.Delete.
func (m *uncommittedModel) remove() {
	before, outstanding := m.state, m.u.Outstanding(m.key)
	if !before.Found && len(outstanding) == 0 {
		return
	}
	mutation := Remove(api.NewCid(m.key))
	after := mutation.Apply(before)
	m.accept(after)
	m.others()
	m.u.add(Write{Key: m.key, Mutation: mutation, Before: before, After: after, Outstanding: outstanding})
	m.wrote(after)
}

func (m *uncommittedModel) wrote(after Versioned) {
	m.want = after
	m.check()
}

// writeForeign is a write of another peer, of a form that no other write has.
func (m *uncommittedModel) writeForeign() {
	m.foreign++
	m.state = version(named(1, fmt.Sprint("foreign ", m.foreign)))
	m.announce(m.state)
	m.want = m.state
	m.anyWant = len(m.accepted) > 0
}

// pass lets time pass. What is older than the commit time is committed or lost.
func (m *uncommittedModel) pass(d time.Duration) {
	m.clock.Advance(d)
	for len(m.accepted) > 0 && m.clock.Now().Sub(m.accepted[0].at) >= modelCommitTime {
		if !m.reliable && rapid.Bool().Draw(m.t, "lost") {
			m.accepted = m.accepted[1:]
		} else {
			m.commit(1)
		}
	}
}

// settle is statewrite.Writer.SettleUncommitted.
func (m *uncommittedModel) settle() {
	for range m.u.DueReads() {
		m.check()
	}
	for range m.u.Overdue() {
		m.read()
		mutation, id, overdue := m.u.Resubmission(m.key)
		if !overdue {
			continue
		}
		current := m.state
		if mutation.In(current) {
			m.u.Settled(m.key, id)
			continue
		}
		after := mutation.Apply(current)
		if m.reliable || rapid.Bool().Draw(m.t, "accepted") {
			m.accept(after)
			m.others()
		}
		m.u.WasResubmitted(m.key, id, after)
	}
	m.check()
}

func tag(text string) Mutation {
	return Mutation{Apply: func(current Versioned) Versioned {
		if !current.Found {
			return current
		}
		meta := maps.Clone(current.Rec.Metadata)
		if meta == nil {
			meta = make(map[string]string)
		}
		meta["tag"] = text
		current.Rec.Metadata = meta
		return current
	}}
}

// Whatever commits late or never, a reader of its own writes never sees an older value,
// and an accepted write that nothing superseded is in the state in the end.
func TestUncommitted_Model(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newUncommittedModel(t)
		name := rapid.SampledFrom([]string{"a", "b"})
		t.Repeat(map[string]func(*rapid.T){
			"rename":  func(t *rapid.T) { m.put(rename(1, name.Draw(t, "name"))) },
			"tag":     func(t *rapid.T) { m.put(tag(name.Draw(t, "tag"))) },
			"remove":  func(*rapid.T) { m.remove() },
			"commit":  func(*rapid.T) { m.commitSome() },
			"lose":    func(*rapid.T) { m.loseOne() },
			"foreign": func(*rapid.T) { m.writeForeign() },
			"settle":  func(*rapid.T) { m.settle() },
			"second":  func(*rapid.T) { m.pass(time.Second) },
			"minute":  func(*rapid.T) { m.pass(modelCommitTime) },
			"":        func(*rapid.T) { m.check() },
		})
		m.reliable = true
		for range 2 {
			m.commit(len(m.accepted))
			m.check()
			m.pass(modelCommitTime << 6)
			m.settle()
		}
		if m.u.Any() {
			t.Fatalf("an uncommitted write is left; the state has %q, want %q", describe(m.state), describe(m.want))
		}
		if !m.anyWant && m.state.form() != m.want.form() {
			t.Fatalf("the state has %q in the end, want %q", describe(m.state), describe(m.want))
		}
	})
}
