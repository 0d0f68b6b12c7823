package faults

import (
	"testing"
	"time"
)

// story makes a history of one CID; each operation begins when the one before
// has ended.
func story(ops ...Op) []Op {
	for i := range ops {
		ops[i].CID, ops[i].Client, ops[i].Generation = "cid", "client1", max(ops[i].Generation, 1)
		if ops[i].Outcome == "" {
			ops[i].Outcome = Done
		}
		ops[i].Call, ops[i].Return = time.Duration(2*i)*time.Second, time.Duration(2*i+1)*time.Second
	}
	return ops
}

func write(peer int, v Value) Op  { return Op{Kind: Write, Peer: peer, Value: v, Home: true} }
func remove(peer int) Op          { return Op{Kind: Remove, Peer: peer, Value: Absent, Home: true} }
func atHome(peer int, v Value) Op { return Op{Kind: Read, Peer: peer, Value: v, Home: true} }
func elsewhere(peer int, v Value) Op {
	return Op{Kind: Read, Peer: peer, Value: v}
}

func ended(op Op, o Outcome) Op { op.Outcome = o; return op }

func restarted(op Op) Op { op.Generation = 2; return op }

func TestCheckRegister(t *testing.T) {
	tests := map[string]struct {
		ops   []Op
		wrong bool
	}{
		"nothing happened":                     {story(atHome(0, Absent), atHome(1, Absent)), false},
		"a write is seen":                      {story(write(0, "a"), atHome(0, "a"), atHome(1, "a")), false},
		"an acknowledged write is lost":        {story(write(0, "a"), atHome(0, Absent)), true},
		"it is lost by a restart":              {story(write(0, "a"), atHome(0, "a"), restarted(atHome(0, Absent))), true},
		"it is lost at one peer":               {story(write(0, "a"), atHome(0, "a"), atHome(1, Absent)), true},
		"a rename is lost":                     {story(write(0, "a"), write(0, "b"), atHome(0, "a")), true},
		"a delete is undone":                   {story(write(0, "a"), remove(0), atHome(0, Absent), atHome(0, "a")), true},
		"a delete is undone at another peer":   {story(write(0, "a"), remove(0), elsewhere(1, Absent), atHome(1, "a")), true},
		"an old value elsewhere":               {story(write(0, "a"), write(0, "b"), elsewhere(1, "a"), elsewhere(1, "b")), false},
		"elsewhere goes back":                  {story(write(0, "a"), write(0, "b"), elsewhere(1, "b"), elsewhere(1, "a")), true},
		"elsewhere goes back in a restart":     {story(write(0, "a"), write(0, "b"), elsewhere(1, "b"), restarted(elsewhere(1, "a"))), false},
		"elsewhere before it is written":       {story(elsewhere(1, "a"), write(0, "a")), true},
		"a value of nobody":                    {story(write(0, "a"), elsewhere(1, Foreign)), true},
		"a failed write took effect":           {story(ended(write(0, "a"), Failed), atHome(0, "a")), false},
		"a failed write took no effect":        {story(ended(write(0, "a"), Failed), atHome(0, Absent)), false},
		"a failed write takes effect later":    {story(ended(write(0, "a"), Failed), atHome(0, Absent), atHome(0, "a")), false},
		"a failed write undoes a later one":    {story(ended(write(0, "a"), Failed), write(0, "b"), atHome(0, "b"), atHome(0, "a")), true},
		"a failed write takes effect twice":    {story(ended(write(0, "a"), Failed), atHome(0, "a"), remove(0), atHome(0, "a")), true},
		"a failed delete took effect":          {story(write(0, "a"), ended(remove(0), Failed), atHome(0, Absent)), false},
		"a failed delete took no effect":       {story(write(0, "a"), ended(remove(0), Failed), atHome(0, "a")), false},
		"a failed delete undoes a later write": {story(write(0, "a"), ended(remove(0), Failed), write(0, "b"), atHome(0, "b"), atHome(0, Absent)), true},
		"an unanswered write after a later one": {
			story(ended(write(0, "a"), Unanswered), write(0, "b"), atHome(0, "b"), atHome(0, "a")), false},
		"an unanswered write and back": {
			story(ended(write(0, "a"), Unanswered), write(0, "b"), atHome(0, "a"), atHome(0, "b")), true},
		"a refused write takes effect": {story(ended(write(0, "a"), Refused), atHome(0, "a")), true},
		"a false 404":                  {story(write(0, "a"), atHome(0, Absent), atHome(0, "a")), true},
		"another home after it has seen the write": {
			story(write(0, "a"), elsewhere(1, "a"), write(1, "b"), atHome(1, "b"), elsewhere(0, "a"), elsewhere(0, "b")), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			wrong, unknown := checkRegister(Absent, tt.ops, false, 10*time.Second)
			if unknown || (wrong != "") != tt.wrong {
				t.Errorf("want wrong: %v, got %q, unknown: %v", tt.wrong, wrong, unknown)
			}
		})
	}
}

// A Raft follower that is cut off shows what its own unacknowledged write did later than the others do.
func TestCheckRegister_ElsewhereFirst(t *testing.T) {
	last := func(op Op) Op { op.Last = true; return op }
	for name, tt := range map[string]struct {
		ops                  []Op
		wrongHere, wrongRaft bool
	}{
		"a failed write shows elsewhere first": {
			story(write(0, "a"), ended(write(0, "b"), Failed), elsewhere(1, "b"), atHome(0, "a"), atHome(0, "b")), true, false},
		"and not at home again": {
			story(write(0, "a"), ended(write(0, "b"), Failed), elsewhere(1, "b"), atHome(0, "b"), atHome(0, "a")), true, true},
		"and never at home": {
			story(write(0, "a"), ended(write(0, "b"), Failed), elsewhere(1, "b"), atHome(0, "a"), last(atHome(0, "a"))), true, true},
		"an acknowledged one": {
			story(write(0, "a"), write(0, "b"), elsewhere(1, "b"), atHome(0, "a")), true, true},
	} {
		for _, raft := range []bool{false, true} {
			want := tt.wrongHere
			if raft {
				want = tt.wrongRaft
			}
			if wrong, unknown := checkRegister(Absent, tt.ops, raft, 10*time.Second); unknown || (wrong != "") != want {
				t.Errorf("%s, Raft %v: want wrong: %v, got %q", name, raft, want, wrong)
			}
		}
	}
}

func TestCheckRegister_BeginsWithTheLastRound(t *testing.T) {
	if wrong, _ := checkRegister("a", story(atHome(0, "a")), false, time.Second); wrong != "" {
		t.Error(wrong)
	}
	if wrong, _ := checkRegister("a", story(atHome(0, Absent)), false, time.Second); wrong == "" {
		t.Error("what was there at the start of the round is gone, and that is right")
	}
}

// Many writes without an answer leave many orders to try.
func TestCheckRegister_ManyUnanswered(t *testing.T) {
	var ops []Op
	for i := range 12 {
		ops = append(ops, ended(write(0, Value(rune('a'+i))), Unanswered), write(0, Value(rune('A'+i))), atHome(0, Value(rune('A'+i))))
	}
	if wrong, unknown := checkRegister(Absent, story(ops...), false, time.Minute); wrong != "" || unknown {
		t.Errorf("%q, unknown: %v", wrong, unknown)
	}
}

func TestCheckShared(t *testing.T) {
	accepted, refused := write(0, "a"), ended(write(0, "a"), Refused)
	for name, tt := range map[string]struct {
		ops   []Op
		final Value
		right bool
	}{
		"it stays":      {[]Op{accepted, write(1, "b")}, "b", true},
		"it is gone":    {[]Op{accepted, write(1, "b")}, Absent, false},
		"somebody":      {[]Op{accepted, ended(remove(1), Failed)}, Absent, true},
		"never was":     {[]Op{refused}, Absent, true},
		"nobody did it": {nil, Absent, true},
	} {
		ops := make([]Op, len(tt.ops))
		for i, op := range tt.ops {
			if op.Outcome == "" {
				op.Outcome = Done
			}
			ops[i] = op
		}
		if got := checkShared(ops, tt.final); got != tt.right {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
