package crdtstore

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-datastore"
)

// blockOfNobody is the ID of a block that no replica has.
const blockOfNobody = "CIQDWKPBHXLJ3XVELRJZA2SYY7OGCSX6FRSIZS2VQQPVKOA2Z4VXN2I"

// loneElement is a replica with one value, the ID of its element and its block.
func loneElement(t *testing.T) (r *replica, id string, data []byte) {
	t.Helper()
	r = start(t, newDisk(), false)
	noError(t, r.put("key", "value"))
	m, err := r.store.Members(t.Context(), "key")
	noError(t, err)
	data, err = r.store.Block(t.Context(), m.Live[0])
	noError(t, err)
	return r, m.Live[0], data
}

// adopt takes over an element of another replica.
func (s *Store) adopt(t *testing.T, key, id string, data []byte) error {
	t.Helper()
	if err := s.Keep(t.Context(), key, id, data); err != nil {
		return err
	}
	return s.Repair(t.Context(), key, nil, []string{id})
}

func TestRepair_TakesAnElementOver(t *testing.T) {
	_, id, data := loneElement(t)
	b := start(t, newDisk(), false)
	noError(t, b.store.adopt(t, "key", id, data))
	if got := b.values()["/key"]; got != "value" {
		t.Errorf("the value is %q", got)
	}
	b.mu.Lock()
	if b.told["key"] != "value" {
		t.Errorf("told %v", b.told)
	}
	b.mu.Unlock()
	if marks := b.disk.marks(t); len(marks) > 0 {
		t.Errorf("an adopted block is no walk: %q", marks)
	}
	noError(t, b.delete("key"))
	noError(t, b.store.adopt(t, "key", id, data))
	if got := b.values(); len(got) > 0 {
		t.Errorf("a removed element came back: %v", got)
	}
}

// sameValues compares values, which are in no order, with those wanted, which are sorted.
func sameValues(t *testing.T, values [][]byte, want []string) {
	t.Helper()
	var got []string
	for _, v := range values {
		got = append(got, string(v))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestBuried_AreTheValuesThatWereRemoved(t *testing.T) {
	r, _, _ := loneElement(t)
	buried := func(want ...string) {
		t.Helper()
		values, err := r.store.Buried(t.Context(), "key")
		noError(t, err)
		sameValues(t, values, want)
	}
	buried()
	noError(t, r.put("key", "value 2"))
	buried()
	noError(t, r.put("key/below", "other"))
	noError(t, r.delete("key/below"))
	noError(t, r.delete("key"))
	buried("value", "value 2")
	noError(t, r.put("key", "value 3"))
	noError(t, r.store.Repair(t.Context(), "key", []string{blockOfNobody}, nil))
	r = r.restart()
	buried("value", "value 2")
}

func TestKeep_RefusesWhatIsNotTheBlock(t *testing.T) {
	_, id, data := loneElement(t)
	b := start(t, newDisk(), false)
	forged := bytes.Replace(data, []byte("value"), []byte("other"), 1)
	if bytes.Equal(forged, data) {
		t.Fatal("the block has no value")
	}
	for what, err := range map[string]error{
		"is not that of block":  b.store.Keep(t.Context(), "key", id, forged),
		"is not the ID":         b.store.Keep(t.Context(), "key", "nonsense", data),
		"has no element of key": b.store.Keep(t.Context(), "another", id, data),
		"is not that of block ": b.store.Keep(t.Context(), "key", id, nil),
		"is not here":           b.store.Repair(t.Context(), "key", nil, []string{id}),
	} {
		if err == nil || !strings.Contains(err.Error(), strings.TrimSpace(what)) {
			t.Errorf("%q: %v", what, err)
		}
	}
	if got := b.values(); len(got) > 0 {
		t.Errorf("values %v", got)
	}
}

func TestRepair_LeavesWhatIsNotNamed(t *testing.T) {
	a, b := start(t, newDisk(), false), start(t, newDisk(), false)
	noError(t, a.put("key", "of a"))
	noError(t, b.put("key", "of b"))
	converge(t, a, b)
	m, err := a.store.Members(t.Context(), "key")
	noError(t, err)
	before := a.values()["/key"]
	best := slices.IndexFunc(m.Live, func(id string) bool {
		block, err := a.store.readBlock(t.Context(), id)
		noError(t, err)
		return string(block.greatest("key")) == before
	})
	noError(t, a.store.Repair(t.Context(), "key", []string{m.Live[best]}, nil))
	if got := a.values()["/key"]; got == before || got == "" {
		t.Errorf("the value is %q", got)
	}
	noError(t, a.store.Repair(t.Context(), "key", m.Live, nil))
	if got := a.values(); len(got) > 0 {
		t.Errorf("values %v", got)
	}
	// A tomb that came before its element keeps it out.
	noError(t, b.store.Repair(t.Context(), "key", m.Live, nil))
	noError(t, b.put("key", "newer"))
	if got := b.values()["/key"]; got != "newer" {
		t.Errorf("the value is %q", got)
	}
}

func TestRepair_CorrectsAValue(t *testing.T) {
	a, _, _ := loneElement(t)
	noError(t, a.disk.Put(t.Context(), a.store.keys.value("key"), []byte("wrong")))
	noError(t, a.store.Repair(t.Context(), "key", nil, nil))
	if got := a.values()["/key"]; got != "value" {
		t.Errorf("the value is %q", got)
	}
	noError(t, a.disk.Delete(t.Context(), a.store.keys.value("key")))
	noError(t, a.store.Repair(t.Context(), "key", nil, nil))
	if got := a.values()["/key"]; got != "value" {
		t.Errorf("the value is %q", got)
	}
}

func TestLayout_KnowsTheKeysOfGoDsCRDT(t *testing.T) {
	l := newLayout(root)
	for text, want := range map[string]string{
		"/c/s/s/KEY/ID":     fmt.Sprint(elementKind, "KEY", "ID"),
		"/c/s/t/KEY/ID":     fmt.Sprint(tombKind, "KEY", "ID"),
		"/c/s/t/A/B/ID":     fmt.Sprint(tombKind, "A/B", "ID"),
		"/c/s/k/KEY/v":      fmt.Sprint(valueKind, "KEY", ""),
		"/c/s/k/KEY/p":      fmt.Sprint(priorityKind, "KEY", ""),
		"/c/h/ID":           fmt.Sprint(headKind, "", "ID"),
		"/c/b/ID":           fmt.Sprint(processedKind, "", "ID"),
		"/c/b/blocks/ID":    fmt.Sprint(blockKind, "", "ID"),
		"/c/d":              fmt.Sprint(dirtyKind, "", ""),
		"/c/pinsvc/open/ID": fmt.Sprint(openKind, "", "ID"),
		"/c/pinsvc/root/ID": fmt.Sprint(rootKind, "", "ID"),
		"/c/crdt_version":   fmt.Sprint(otherKind, "", ""),
		"/c":                fmt.Sprint(otherKind, "", ""),
		"/cc/h/ID":          fmt.Sprint(otherKind, "", ""),
		"/peers/addrs/b/ID": fmt.Sprint(otherKind, "", ""),
	} {
		if what, key, id := l.classify(datastore.NewKey(text)); fmt.Sprint(what, key, id) != want {
			t.Errorf("%s is %v %q %q, want %s", text, what, key, id, want)
		}
	}
}

// What came stays known, whether newer values have superseded it or a delete has removed it.
func TestElements_AreAllValuesThatCame(t *testing.T) {
	r, _, _ := loneElement(t)
	elements := func(want ...string) {
		t.Helper()
		values, err := r.store.Elements(t.Context(), "key")
		noError(t, err)
		sameValues(t, values, want)
	}
	elements("value")
	noError(t, r.put("key", "value 2"))
	noError(t, r.put("key/below", "other"))
	elements("value", "value 2")
	noError(t, r.delete("key"))
	r = r.restart()
	elements("value", "value 2")
}
