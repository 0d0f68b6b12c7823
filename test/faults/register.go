package faults

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// registerState is the register of one CID: the values that it had, and how far
// each peer was seen to be in them.
type registerState struct {
	values []Value
	// acknowledged is the index of the last value that an acknowledged write made.
	acknowledged int
	// seen are indexes into values, by the start of a peer.
	seen map[peerStart]int
}

// peerStart is one start of a peer.
type peerStart struct{ peer, generation int }

func (s registerState) apply(v Value, acknowledged bool) registerState {
	s.values = append(slices.Clip(s.values), v)
	if acknowledged {
		s.acknowledged = len(s.values) - 1
	}
	return s
}

// see is the state after a peer reported a value that is not older than one, and whether it could.
func (s registerState) see(at peerStart, v Value, oldest int) (registerState, bool) {
	from := max(s.seen[at], oldest)
	i := slices.Index(s.values[from:], v)
	if i < 0 {
		return s, false
	}
	if from+i == s.seen[at] {
		return s, true
	}
	next := s
	next.seen = make(map[peerStart]int, len(s.seen)+1)
	for k, v := range s.seen {
		next.seen[k] = v
	}
	next.seen[at] = from + i
	return next, true
}

func (s registerState) equal(other registerState) bool {
	if len(s.seen) != len(other.seen) || s.acknowledged != other.acknowledged || !slices.Equal(s.values, other.values) {
		return false
	}
	for at, i := range s.seen {
		if j, ok := other.seen[at]; !ok || i != j {
			return false
		}
	}
	return true
}

// registerModel is the register of a CID that only one client writes. Reads at
// the home of the CID see the last write. Reads elsewhere may see an older one,
// but none that is older than what the same start of the peer showed before. A
// write that failed took effect or did not. elsewhereFirst: what an unacknowledged write did may show
// at other peers first. A Raft follower that is cut off has proposed it, and has not seen that it was committed.
func registerModel(initial Value, elsewhereFirst bool) porcupine.Model {
	nondeterministic := porcupine.NondeterministicModel{
		Init: func() []any { return []any{registerState{values: []Value{initial}}} },
		Step: func(state, input, _ any) []any {
			s, op := state.(registerState), input.(Op)
			if op.Kind == Read {
				oldest := 0
				switch {
				case op.Home && elsewhereFirst && !op.Last:
					oldest = s.acknowledged
				case op.Home:
					oldest = len(s.values) - 1
				}
				next, ok := s.see(peerStart{op.Peer, op.Generation}, op.Value, oldest)
				if !ok {
					return nil
				}
				return []any{next}
			}
			v := op.Value
			if op.Kind == Remove {
				v = Absent
			}
			after := s.apply(v, op.Outcome == Done)
			if op.Outcome == Done {
				return []any{after}
			}
			return []any{s, after}
		},
		Equal: func(a, b any) bool { return a.(registerState).equal(b.(registerState)) },
	}
	return nondeterministic.ToModel()
}

// operations makes the intervals of porcupine of what happened to one CID. The
// end of a write that was not answered is open; the end of a failed one is the
// answer of the next write that the same start of the peer accepted.
func operations(ops []Op) []porcupine.Operation {
	var out []porcupine.Operation
	for i, op := range ops {
		if op.Outcome == Refused || (op.Kind == Read && op.Outcome != Done) {
			continue
		}
		end := int64(op.Return)
		switch {
		case op.Outcome == Unanswered:
			end = math.MaxInt64
		case op.Outcome == Failed:
			end = math.MaxInt64
			for _, later := range ops[i+1:] {
				if later.Kind != Read && later.Outcome == Done && later.Peer == op.Peer &&
					later.Generation == op.Generation && later.Call > op.Return {
					end = int64(later.Return)
					break
				}
			}
		}
		out = append(out, porcupine.Operation{ClientId: op.Peer, Input: op, Call: int64(op.Call), Return: end})
	}
	return out
}

// checkRegister returns what is wrong with the history of one CID, empty for
// nothing. The history ends with reads of all peers after healing, with Home
// set: there every peer sees the last write. unknown is set when the time did
// not suffice to tell. elsewhereFirst is explained at registerModel.
func checkRegister(initial Value, ops []Op, elsewhereFirst bool, within time.Duration) (wrong string, unknown bool) {
	slices.SortStableFunc(ops, func(a, b Op) int { return int(a.Call - b.Call) })
	intervals := operations(ops)
	switch result, info := porcupine.CheckOperationsVerbose(registerModel(initial, elsewhereFirst), intervals, within); result {
	case porcupine.Ok:
		return "", false
	case porcupine.Unknown:
		return "", true
	default:
		return explain(initial, intervals, info), false
	}
}

// explain shows the history from the first operation that no order of all the
// others can explain.
func explain(initial Value, intervals []porcupine.Operation, info porcupine.LinearizationInfo) string {
	longest := 0
	for _, partition := range info.PartialLinearizations() {
		for _, order := range partition {
			longest = max(longest, len(order))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "no order explains more than %d of %d operations; it began as %s\n", longest, len(intervals), initial)
	for _, o := range intervals {
		op := o.Input.(Op)
		home := ""
		if op.Home {
			home = ", home"
		}
		fmt.Fprintf(&b, "  %10.3fs-%.3fs #%d peer%d.%d %s %s %s (%s %d %s%s)\n", op.Call.Seconds(), op.Return.Seconds(), op.Request,
			op.Peer+1, op.Generation, op.Kind, op.Value, op.Outcome, op.Method, op.Code, op.Status, home)
	}
	return b.String()
}

// checkShared reports whether the end is right of a CID that all clients write at all peers at once. Which
// write wins is not known, but one does; and what nobody deletes stays.
func checkShared(ops []Op, final Value) bool {
	accepted, removed := false, false
	for _, op := range ops {
		accepted = accepted || (op.Kind == Write && op.Outcome == Done)
		removed = removed || op.Kind == Remove
	}
	return !accepted || removed || final != Absent
}
