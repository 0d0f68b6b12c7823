package statesync

import (
	"fmt"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"pgregory.net/rapid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// uncommittedModel is one key of a cluster whose writes commit in order, late and in
// batches, and the Uncommitted under test.
type uncommittedModel struct {
	t     *rapid.T
	clock clusterfake.Clock
	u     *Uncommitted
	key   cid.Cid
	state Versioned
	// accepted are the writes of this peer that are not committed.
	accepted []acceptedWrite
	// want is what a reader of this peer has to see.
	want Versioned
	// anyWant: another peer wrote while writes of this peer were on their way, and they
	// still are. Which of them wins is for the cluster to decide.
	anyWant bool
	// submitting: a write is submitted and not yet known to the table.
	submitting bool
	foreign    int
}

type acceptedWrite struct {
	after Versioned
	at    time.Time
}

const modelCommitTime = time.Minute

func newUncommittedModel(t *rapid.T) *uncommittedModel {
	m := &uncommittedModel{t: t, key: pinsvctest.RawCID(1)}
	m.u = NewUncommitted(m.clock.Now, modelCommitTime)
	return m
}

func describe(v Versioned) string {
	if !v.Found {
		return "none"
	}
	return v.Rec.Name
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
		m.u.announced(Event{CID: m.key, Form: v.form()})
	} else {
		m.u.announced(Event{CID: m.key, Removed: true})
	}
}

func (m *uncommittedModel) commitSome() {
	m.commit(rapid.IntRange(0, len(m.accepted)).Draw(m.t, "commit"))
}

// others is what may happen while a write is submitted.
func (m *uncommittedModel) others() {
	m.submitting = true
	defer func() { m.submitting = false }()
	for range rapid.IntRange(0, 3).Draw(m.t, "others") {
		if rapid.Bool().Draw(m.t, "commit") {
			m.commitSome()
		} else {
			m.read()
		}
	}
}

func (m *uncommittedModel) accept(after Versioned) {
	if len(m.accepted) == 0 {
		m.anyWant = false
	}
	m.accepted = append(m.accepted, acceptedWrite{after, m.clock.Now()})
}

// write is Syncer.Submit.
func (m *uncommittedModel) write(before, after Versioned) {
	outstanding := m.u.Outstanding(m.key)
	m.accept(after)
	m.others()
	m.u.add(Write{Key: m.key, Before: before, After: after}, outstanding)
	m.wrote(after)
}

func (m *uncommittedModel) put(name string) { m.write(m.read(), version(named(1, name))) }

func (m *uncommittedModel) remove() {
	if before := m.read(); before.Found {
		m.write(before, Versioned{})
	}
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

// pass lets time pass. What is older than the commit time is committed.
func (m *uncommittedModel) pass(d time.Duration) {
	m.clock.Advance(d)
	for len(m.accepted) > 0 && m.clock.Now().Sub(m.accepted[0].at) >= modelCommitTime {
		m.commit(1)
	}
}

// settle is statewrite.Writer.SettleUncommitted.
func (m *uncommittedModel) settle() {
	m.u.Age()
	m.check()
}

// Whatever commits late, a reader of its own writes never sees an older value, and no
// write stays uncommitted for ever.
func TestUncommitted_Model(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newUncommittedModel(t)
		name := rapid.SampledFrom([]string{"a", "b"})
		t.Repeat(map[string]func(*rapid.T){
			"put":     func(t *rapid.T) { m.put(name.Draw(t, "name")) },
			"remove":  func(*rapid.T) { m.remove() },
			"commit":  func(*rapid.T) { m.commitSome() },
			"foreign": func(*rapid.T) { m.writeForeign() },
			"settle":  func(*rapid.T) { m.settle() },
			"second":  func(*rapid.T) { m.pass(time.Second) },
		})
		m.commit(len(m.accepted))
		m.check()
		for range (modelCommitTime << giveUpShift) / maxStep {
			m.clock.Advance(maxStep)
			m.u.Age()
		}
		if m.u.Any() {
			t.Fatalf("an uncommitted write is left; the state has %q, want %q", describe(m.state), describe(m.want))
		}
		if !m.anyWant && m.state.form() != m.want.form() {
			t.Fatalf("the state has %q in the end, want %q", describe(m.state), describe(m.want))
		}
	})
}
