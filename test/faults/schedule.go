package faults

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// FaultKind is what happens to a peer.
type FaultKind string

// The faults. Those with a duration end by themselves.
const (
	KillPeer      FaultKind = "kill -9 of a peer"
	RestartPeer   FaultKind = "restart of a peer"
	FreezePeer    FaultKind = "frozen peer"
	CutPeer       FaultKind = "all links of a peer cut"
	CutLink       FaultKind = "link cut"
	CutOneWay     FaultKind = "link cut one way"
	SlowLink      FaultKind = "slow link"
	KillKubo      FaultKind = "kill -9 of an IPFS node"
	FullRepo      FaultKind = "IPFS repo without space"
	FullStore     FaultKind = "store without space"
	ClockBack     FaultKind = "clock an hour back"
	ClockForward  FaultKind = "clock an hour forward"
	TornWrite     FaultKind = "torn last write"
	Garbage       FaultKind = "garbage collection"
	RollingStart  FaultKind = "rolling restart"
	FallBehind    FaultKind = "peer away for many writes"
	ReplaceFolder FaultKind = "peer with an empty folder"
	ReplacePeer   FaultKind = "peer replaced by another"
	Snapshot      FaultKind = "installed Raft snapshot"
)

// faultShape is how a fault is planned.
type faultShape struct {
	kind     FaultKind
	weight   int
	min, max time.Duration
	// between: it happens between two rounds, while no client sends requests.
	between bool
	modes   []Mode // nil: all
}

func faultShapes() []faultShape {
	const s = time.Second
	return []faultShape{
		{kind: KillPeer, weight: 6, max: 10 * s},
		{kind: RestartPeer, weight: 3},
		{kind: FreezePeer, weight: 3, min: 5 * s, max: 30 * s},
		{kind: CutPeer, weight: 4, min: 3 * s, max: 30 * s},
		{kind: CutLink, weight: 3, min: 3 * s, max: 30 * s},
		{kind: CutOneWay, weight: 4, min: 3 * s, max: 30 * s},
		{kind: SlowLink, weight: 3, min: 5 * s, max: 30 * s},
		{kind: KillKubo, weight: 4},
		{kind: FullRepo, weight: 2, min: 5 * s, max: 20 * s},
		{kind: FullStore, weight: 2, min: 5 * s, max: 20 * s},
		{kind: ClockBack, weight: 2, min: 10 * s, max: 40 * s},
		{kind: ClockForward, weight: 2, min: 10 * s, max: 40 * s},
		{kind: TornWrite, weight: 2, max: 5 * s, modes: []Mode{CRDT, Batching}},
		{kind: Garbage, weight: 5},
		{kind: RollingStart, weight: 1},
		{kind: FallBehind, weight: 2, min: 15 * s, max: 30 * s},
		{kind: Snapshot, weight: 1, between: true, modes: []Mode{Raft}},
		{kind: ReplaceFolder, weight: 1, between: true, modes: []Mode{CRDT, Batching}},
		{kind: ReplacePeer, weight: 1, between: true},
	}
}

// Fault is one fault of a schedule.
type Fault struct {
	Kind FaultKind `json:"kind"`
	// At is the time since the start of the round, For how long it lasts.
	At  time.Duration `json:"at"`
	For time.Duration `json:"for,omitempty"`
	// Peer is the peer that it happens to, Other the other end of a link.
	Peer  int `json:"peer"`
	Other int `json:"other"`
}

func (f Fault) String() string {
	if f.Kind == RollingStart {
		return string(f.Kind)
	}
	text := fmt.Sprintf("%s, peer%d", f.Kind, f.Peer+1)
	if f.Kind == CutLink || f.Kind == CutOneWay || f.Kind == SlowLink {
		text += fmt.Sprintf("-peer%d", f.Other+1)
	}
	if f.For > 0 {
		text += fmt.Sprintf(" for %.1fs", f.For.Seconds())
	}
	return text
}

// Round is a time under load, after what happens before it.
type Round struct {
	Before []Fault       `json:"before,omitempty"`
	Faults []Fault       `json:"faults"`
	Load   time.Duration `json:"load"`
}

// Plan is a schedule.
type Plan struct {
	Seed  uint64
	Mode  Mode
	Total time.Duration // of the load
	Round time.Duration // at most, of one round
	Pause time.Duration // mean time between two faults
	Peers int
	// Calm is the time at the beginning of a round without faults, in which other peers know at once what one accepts.
	Calm time.Duration
	// Copies is how many peers keep each pin; 0: all.
	Copies int
	// Kinds are the faults that may happen; nil: all of the mode.
	Kinds []FaultKind
}

// short is the plan of a minute with a fixed seed. Its two rounds have between them what happens
// between rounds, such as a peer that is removed and another that is added. The seeds are those
// whose plans have the most kinds; together they have all. One mode keeps two copies of each pin, so that
// there are allocations, which faults move.
func short(m Mode) Plan {
	seeds := map[Mode]uint64{CRDT: 14229, Batching: 18591, Raft: 1721}
	copies := map[Mode]int{Batching: 2}
	return Plan{
		Seed: seeds[m], Mode: m, Total: time.Minute, Round: 30 * time.Second, Pause: 3 * time.Second, Peers: 3,
		Calm: 5 * time.Second, Copies: copies[m],
	}
}

// kept reports whether pins are where they should be after the fault. They do not get another copy by themselves for
// one that is gone for good, nor for the only one.
func (p Plan) kept(k FaultKind) bool {
	return p.Copies == 0 || k != ReplacePeer && (p.Copies > 1 || k != ReplaceFolder)
}

// kinds are the shapes of the faults that may happen.
func (p Plan) kinds(between bool) []faultShape {
	return slices.DeleteFunc(faultShapes(), func(s faultShape) bool {
		return s.between != between || (s.modes != nil && !slices.Contains(s.modes, p.Mode)) ||
			(p.Kinds != nil && !slices.Contains(p.Kinds, s.kind)) || !p.kept(s.kind)
	})
}

// Rounds returns the schedule. The same plan has the same rounds.
func (p Plan) Rounds() []Round {
	rng := rand.New(rand.NewPCG(p.Seed, 0))
	var rounds []Round
	due := p.kinds(true)
	for left := p.Total; left > 0; left -= p.Round {
		r := Round{Load: min(left, p.Round)}
		if len(rounds) > 0 {
			r.Before, due = p.before(rng, int((left+p.Round-1)/p.Round), due)
		}
		during := p.kinds(false)
		at := p.Calm
		for len(during) > 0 {
			at += time.Duration((0.3 + rng.ExpFloat64()) * float64(p.Pause))
			if at >= r.Load {
				break
			}
			r.Faults = append(r.Faults, p.fault(rng, pick(rng, during), at))
		}
		rounds = append(rounds, r)
	}
	return rounds
}

// before are the faults before a round, and what is due still. Each second round has one by chance.
// When no more rounds come than faults are due, those happen: a plan of two rounds has every kind.
func (p Plan) before(rng *rand.Rand, left int, due []faultShape) (faults []Fault, still []faultShape) {
	var chosen []faultShape
	switch between := p.kinds(true); {
	case len(due) >= left:
		chosen = due[:(len(due)+left-1)/left]
	case len(between) > 0 && rng.IntN(2) == 0:
		chosen = []faultShape{pick(rng, between)}
	}
	for _, s := range chosen {
		faults = append(faults, p.fault(rng, s, 0))
	}
	return faults, slices.DeleteFunc(slices.Clone(due), func(s faultShape) bool {
		return slices.ContainsFunc(chosen, func(c faultShape) bool { return c.kind == s.kind })
	})
}

func (p Plan) fault(rng *rand.Rand, s faultShape, at time.Duration) Fault {
	f := Fault{Kind: s.kind, At: at, Peer: rng.IntN(p.Peers), For: s.min}
	if s.max > s.min {
		f.For += time.Duration(rng.Int64N(int64(s.max - s.min)))
	}
	f.Other = (f.Peer + 1 + rng.IntN(p.Peers-1)) % p.Peers
	return f
}

func pick(rng *rand.Rand, shapes []faultShape) faultShape {
	total := 0
	for _, s := range shapes {
		total += s.weight
	}
	n := rng.IntN(total)
	for _, s := range shapes {
		if n -= s.weight; n < 0 {
			return s
		}
	}
	return shapes[len(shapes)-1]
}
