package faults

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// settleTimeout is how long after healing the peers may take to agree and to
// pin everything.
const settleTimeout = 2 * time.Minute

// rowsOf are rows by their CIDs.
func rowsOf(list []pin) map[string]row {
	rows := map[string]row{}
	for _, p := range list {
		rows[canonical(p.Pin.CID)] = p.row()
	}
	return rows
}

func (p pin) row() row {
	return row{
		Record: p.record(), CID: p.Pin.CID, RequestID: p.RequestID, Created: p.Created, Status: p.Status,
		Replicas: p.Info["replicas"], Until: p.Info["pinned_until"], Kept: keptIn(p.Info["kept"]),
	}
}

// twice is content that a list has two rows of.
type twice struct {
	text string
	// moved: they are different rows. While peers come to agree, a pin whose record comes to be an older one goes
	// down the list between two pages, and a CIDv0 and a CIDv1 are not one pin yet.
	moved bool
}

func twiceIn(list []pin) (found []twice) {
	first := map[string]pin{}
	for _, p := range list {
		c := canonical(p.Pin.CID)
		if one, ok := first[c]; ok {
			found = append(found, twice{fmt.Sprintf("%s twice: %+v, %+v", c, one, p), one.Pin.CID != p.Pin.CID || one.Created != p.Created})
		}
		first[c] = p
	}
	return found
}

// look asks peers and their nodes.
func (r *runner) look(ctx context.Context, nodes []*node) ([]sight, error) {
	who := r.workload.clients[0].who
	known, err := names(r.nodes)
	if err != nil {
		return nil, err
	}
	var all []sight
	for _, n := range nodes {
		list, err := listAll(ctx, n, who)
		if err != nil {
			return nil, err
		}
		s := sight{name: n.name, rows: rowsOf(list)}
		if s.count, err = countPins(ctx, n, who); err != nil {
			return nil, err
		}
		if s.allocations, s.twice, err = n.allocations(ctx, who, known); err != nil {
			return nil, err
		}
		for _, twice := range twiceIn(list) {
			if !twice.moved {
				r.problems.add(Agreement, "%s lists %s", n.name, twice.text)
			}
			s.twice = append(s.twice, twice.text)
		}
		if s.pins, err = n.kubo().pins(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", n.name, err)
		}
		all = append(all, s)
	}
	return all, nil
}

// agree waits until peers agree, all is pinned where it should be and what has an end is gone, and returns
// what it has seen. It reports what is still wrong when the time is over.
func (r *runner) agree(ctx context.Context, nodes []*node, timeout time.Duration) (seen *settled) {
	var left []Problem
	told := time.Now()
	err := eventually(ctx, timeout, func() error {
		all, err := r.look(ctx, nodes)
		if err != nil {
			return err
		}
		u := r.universe(len(nodes))
		if left = compare(all, u); len(left) > 0 {
			if time.Since(told) > toldEvery {
				told = time.Now()
				r.log("%d problems are left, such as %s", len(left), left[0].Text)
			}
			return fmt.Errorf("%d problems", len(left))
		}
		seen = &settled{u, all}
		return nil
	})
	for _, p := range left {
		r.problems.add(p.Invariant, "%v after healing: %s", timeout, p.Text)
	}
	if err != nil && len(left) == 0 {
		r.problems.add(Recovery, "after healing: %v", err)
	}
	return seen
}

// toldEvery is how often it is told what is waited for.
const toldEvery = 15 * time.Second

// settled is what was seen when all was as it should be.
type settled struct {
	universe universe
	all      []sight
}

func (r *runner) universe(nodes int) universe {
	u := universe{
		copies: nodes, enough: 1, unseen: peers - nodes + r.gone, now: time.Now(),
		written: map[string]bool{}, dead: map[string]bool{}, expiring: r.workload.expiring,
	}
	if r.opts.Copies > 0 {
		u.copies, u.enough, u.allocated, u.unseen = r.opts.Copies, r.opts.Copies, true, 0
	}
	for _, k := range r.workload.allKeys() {
		u.written[k.cid], u.dead[k.cid] = true, k.dead
	}
	for cid := range u.expiring {
		u.written[cid] = true
	}
	return u
}

// hold enters all that is pinned after a round into custody, whether a client has read that or not.
func (r *runner) hold(seen *settled) {
	now := time.Since(r.start)
	cids := live(seen.all, seen.universe, r.workload.allKeys())
	for _, cid := range cids {
		r.workload.custody.confirmed(cid, now)
	}
	r.log("%d CIDs are pinned, %d rows at each peer", len(cids), seen.all[0].count)
}

// live are the CIDs that every peer lists as pinned and that enough nodes have pinned, of keys whose clients say
// before they give them up.
func live(all []sight, u universe, keys []*key) (cids []string) {
	for _, k := range keys {
		held, listed := 0, 0
		for _, s := range all {
			if s.pins[k.cid] {
				held++
			}
			if s.rows[k.cid].Status == "pinned" {
				listed++
			}
		}
		if (!k.shared || k.stays) && held >= u.enough && listed == len(all) {
			cids = append(cids, k.cid)
		}
	}
	return cids
}

// finish reads every key at every peer, checks the histories and returns the
// values that the next round begins with.
func (r *runner) finish(ctx context.Context, round int, initial map[string]Value) map[string]Value {
	final := r.finalReads(ctx)
	ops := r.workload.history.take()
	if err := r.save(round, ops); err != nil {
		r.problems.add(Recovery, "the history cannot be saved: %v", err)
	}
	r.identifyExpiring()
	groups := byCID(ops)
	r.checkRegisters(initial, groups)
	for _, k := range r.workload.allKeys() {
		if k.shared {
			if !checkShared(groups[k.cid], final[k.cid]) {
				r.problems.add(Register, "%s was accepted, never deleted, and is gone", k.cid)
			}
			continue
		}
		checked, wrong := checkReads(groups[k.cid], r.troubles.calm)
		r.checked += checked
		for _, text := range wrong {
			r.problems.add(Reads, "%s", text)
		}
		k.value, k.unsettled, k.moved = final[k.cid], false, nil
	}
	return final
}

// identifyExpiring checks that the pins with an end that are left are what some client wrote.
func (r *runner) identifyExpiring() {
	if r.seen == nil {
		return
	}
	for _, s := range r.seen.all {
		for cid := range r.workload.expiring {
			if row, ok := s.rows[cid]; ok {
				r.workload.identify(s.name, pin{Pin: wirePin{CID: cid, Name: row.Name, Origins: row.Origins, Meta: row.Meta}})
			}
		}
	}
}

// checkRegisters checks the histories of the CIDs that one client each writes, some at once.
func (r *runner) checkRegisters(initial map[string]Value, groups map[string][]Op) {
	var checks errgroup.Group
	checks.SetLimit(runtime.GOMAXPROCS(0))
	for _, k := range r.workload.allKeys() {
		if k.shared {
			continue
		}
		checks.Go(func() error {
			wrong, unknown := checkRegister(cmp.Or(initial[k.cid], Absent), groups[k.cid], r.opts.Mode == Raft, registerTimeout)
			if wrong != "" {
				r.problems.add(Register, "%s: %s", k.cid, wrong)
			}
			if unknown {
				r.problems.add(Register, "%s: whether an order explains its history was not found in %v", k.cid, registerTimeout)
			}
			return nil
		})
	}
	_ = checks.Wait() // None of them fails.
}

// finalReads reads every key at every peer, and returns the values that the first that answered has.
func (r *runner) finalReads(ctx context.Context) map[string]Value {
	all := make([]map[string]Value, len(r.nodes))
	var wg sync.WaitGroup
	for i, n := range r.nodes {
		all[i] = map[string]Value{}
		wg.Go(func() {
			for _, k := range r.workload.allKeys() {
				if v, ok := r.finalRead(ctx, k, n); ok {
					all[i][k.cid] = v
				}
			}
		})
	}
	wg.Wait()
	final := map[string]Value{}
	for _, values := range slices.Backward(all) {
		maps.Copy(final, values)
	}
	return final
}

// registerTimeout bounds the check of the history of one CID.
const registerTimeout = 30 * time.Second

// finalRead is a read after healing: every peer sees the last write.
func (r *runner) finalRead(ctx context.Context, k *key, n *node) (Value, bool) {
	c := r.workload.clients[0]
	var a answer
	// A 503 says that nothing is known, and asks to come again. So does a 429, where many keys are not pinned: only
	// some such reads a second ask the other peers.
	_ = eventually(ctx, requestTimeout, func() error {
		a = ask(ctx, n, c.who, r.workload.start, http.MethodGet, "/pins/"+k.cid, nil)
		if a.code == http.StatusServiceUnavailable || a.code == http.StatusTooManyRequests {
			return fmt.Errorf("%s: %d", n.name, a.code)
		}
		return nil
	})
	op := c.op(k, n.index, Read, Absent, a)
	op.Client, op.Home, op.Last, op.Request, op.Method = "checker", !k.shared, true, r.workload.history.request(), "GET (final)"
	switch {
	case a.err == nil && a.code == http.StatusNotFound:
	case a.err == nil && a.code == http.StatusOK:
		var p pin
		if err := json.Unmarshal(a.body, &p); err != nil {
			r.problems.add(Answers, "GET /pins/%s at %s: %v", k.cid, n.name, err)
			return "", false
		}
		op.Value, op.Status = r.workload.identify(n.name, p), p.Status
		r.checkFinal(k, n, p)
	default:
		r.problems.add(Answers, "after healing, GET /pins/%s at %s: %d %v %s", k.cid, n.name, a.code, a.err, a.body)
		return "", false
	}
	r.workload.history.add(op)
	return op.Value, true
}

// checkFinal compares what a peer says of one pin with what its list said and the nodes have.
func (r *runner) checkFinal(k *key, n *node, p pin) {
	if r.seen == nil {
		return // That is told already.
	}
	c := comparison{universe: r.seen.universe, all: r.seen.all}
	c.content(c.all[n.index], k.cid, p.row(), true)
	for _, found := range c.found {
		r.problems.add(found.Invariant, "after healing, GET /pins/%s: %s", k.cid, found.Text)
	}
}

func (w *workload) allKeys() []*key {
	keys := slices.Clone(w.shared)
	for _, c := range w.clients {
		keys = append(keys, c.keys...)
	}
	return keys
}
