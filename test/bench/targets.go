package main

import "fmt"

// target is something to reach and what was reached.
type target struct {
	what, want, got string
	met             bool
}

func (t target) verdict() string {
	switch {
	case t.got == "":
		return "not measured"
	case t.met:
		return "met"
	default:
		return "**not met**"
	}
}

// find returns the row of an operation, false when it was not measured.
func (r *result) find(n int, op, subject string) (row, bool) {
	for _, row := range r.rows {
		if row.N == n && row.Op == op && row.Subject == subject {
			return row, true
		}
	}
	return row{}, false
}

// side names a row.
type side struct {
	n           int
	op, subject string
}

func p50(r row) float64 { return r.P50 }
func rps(r row) float64 { return r.RPS }

// ratio compares a figure of two rows; atMost reports whether it must not exceed
// the bound or must reach it.
func (r *result) ratio(what string, figure func(row) float64, over, under side, bound float64, atMost bool) target {
	t := target{what: what}
	if atMost {
		t.want = fmt.Sprintf("at most %gx", bound)
	} else {
		t.want = fmt.Sprintf("at least %gx", bound)
	}
	a, okA := r.find(over.n, over.op, over.subject)
	b, okB := r.find(under.n, under.op, under.subject)
	if !okA || !okB {
		return t
	}
	value := figure(a) / figure(b)
	t.got = fmt.Sprintf("%.3gx", value)
	if value >= 1000 {
		t.got = fmt.Sprintf("%.0fx", value)
	}
	t.met = value <= bound
	if !atMost {
		t.met = value >= bound
	}
	return t
}

// targets are all that this project wants to reach.
func (r *result) targets() []target {
	var list []target
	for _, op := range []string{"list_first", "list_middle"} {
		list = append(list,
			r.ratio(op+": 1,000,000 pins against 1,000", p50, side{1_000_000, op, ours}, side{1000, op, ours}, 1.5, true),
			r.ratio(op+" at 100,000: upstream against ours", p50, side{100_000, op, theirs}, side{100_000, op, ours}, 5000, false))
	}
	for _, size := range r.sizes {
		list = append(list, r.sizeTargets(size)...)
	}
	return append(list, r.postsTarget())
}

// sizeTargets are those that hold at each size.
func (r *result) sizeTargets(s size) (list []target) {
	at := func(op, whose string) side { return side{s.n, op, whose} }
	for _, each := range []struct {
		op    string
		bound float64
	}{{"list_first", 1.6}, {"list_middle", 1.6}, {"list_1000", 3}} {
		what := fmt.Sprintf("%s at %s: against the bare handler", each.op, thousands(s.n))
		list = append(list, r.ratio(what, p50, at(each.op, ours), at(each.op, theLimit), each.bound, true))
	}
	if plainPins(s.n) == 1000 {
		what := fmt.Sprintf("list_1000 with origins at %s: against a page without", thousands(s.n))
		list = append(list, r.ratio(what, p50, at("list_1000", ours), at("list_1000_plain", ours), 1.3, true))
	}
	for _, op := range []string{"list_name", "list_cid", "list_status", "count"} {
		what := fmt.Sprintf("%s at %s: against list_first", op, thousands(s.n))
		list = append(list, r.ratio(what, p50, at(op, ours), at("list_first", ours), 1.5, true))
	}
	if s.n <= upstreamUpTo {
		for _, op := range []string{"post", "delete"} {
			list = append(list, r.commitTargets(s, op)...)
		}
	}
	for _, op := range []string{"get_pinned", "get_inflight"} {
		what := fmt.Sprintf("%s at %s: requests/s against the bare handler", op, thousands(s.n))
		list = append(list, r.ratio(what, rps, at(op, ours), at(op, theLimit), 0.7, false))
	}
	list = append(list, r.bytesTarget(s))
	if s.n >= 1_000_000 {
		list = append(list, r.millionTargets(s)...)
	}
	return list
}

// commitTargets compare a write, which is on the disk when it is answered, with
// upstream's, which is not: alone it may take one sync longer, and with 64 clients,
// whose writes share commits, it has to be faster all the same.
func (r *result) commitTargets(s size, op string) []target {
	alone := target{what: fmt.Sprintf("%s at %s, alone: against upstream's and one sync", op, thousands(s.n)), want: "at most 1x"}
	own, okOwn := r.find(s.n, op, ours)
	other, okOther := r.find(s.n, op, theirs)
	if okOwn && okOther {
		bound := other.P50 + microseconds(s.syncing)
		alone.got, alone.met = fmt.Sprintf("%.2fx (%s of %s)", own.P50/bound, duration(own.P50), duration(bound)), own.P50 <= bound
	}
	what := fmt.Sprintf("%s at %s, 64 clients: requests/s against upstream", op, thousands(s.n))
	return []target{alone, r.ratio(what, rps, side{s.n, op, ours}, side{s.n, op, theirs}, 1.8, false)}
}

// bytesTarget is of the whole process, the client included.
func (r *result) bytesTarget(s size) target {
	t := target{what: fmt.Sprintf("bytes allocated for a post at %s", thousands(s.n)), want: "at most 60 kB"}
	if row, ok := r.find(s.n, "post", ours); ok {
		t.got, t.met = short(row.Alloc)+"B", row.Alloc <= 60_000
	}
	return t
}

// millionTargets are absolute, but for the start.
func (r *result) millionTargets(s size) (list []target) {
	for _, op := range []string{"list_name_partial", "list_meta"} {
		t := target{what: fmt.Sprintf("%s at %s", op, thousands(s.n)), want: "at most 40 ms"}
		if row, ok := r.find(s.n, op, ours); ok {
			t.got, t.met = fmt.Sprintf("%.1f ms", row.P50/1000), row.P50 <= 40_000
		}
		list = append(list, t)
	}
	return append(list, target{
		what: fmt.Sprintf("from start to ready at %s: against reading the state", thousands(s.n)), want: "at most 1.5x",
		got: fmt.Sprintf("%.2fx (%.1f s)", s.starting.wall.Seconds()/s.iterating.wall.Seconds(), s.starting.wall.Seconds()),
		met: s.starting.wall.Seconds() <= 1.5*s.iterating.wall.Seconds(),
	}, target{
		what: fmt.Sprintf("memory of the view at %s", thousands(s.n)), want: "at most 300 B a pin",
		got: fmt.Sprintf("%.0f B", s.viewBytesPerPin), met: s.viewBytesPerPin <= 300,
	})
}

func (r *result) postsTarget() target {
	t := target{what: "POSTs by 64 clients: time of the last tenth against the first", want: "at most upstream's"}
	if len(r.posts) == 0 {
		return t
	}
	own, other := r.posts[0].slowdown(), r.posts[1].slowdown()
	t.got, t.met = fmt.Sprintf("%.2fx, upstream %.2fx", own, other), own <= other
	return t
}
