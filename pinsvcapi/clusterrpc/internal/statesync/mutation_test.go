package statesync

import (
	"testing"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func TestMutation_In(t *testing.T) {
	a, b := version(named(1, "a")), version(named(1, "b"))
	key := api.NewCid(pinsvctest.RawCID(1))
	for _, tt := range []struct {
		name     string
		mutation Mutation
		current  Versioned
		want     bool
	}{
		{"the name that is there", rename(1, "a"), a, true},
		{"another name", rename(1, "a"), b, false},
		{"a record where there is none", rename(1, "a"), Versioned{}, false},
		{"removal of a record", Remove(key), a, false},
		{"removal of nothing", Remove(key), Versioned{}, true},
	} {
		if got := tt.mutation.In(tt.current); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}

// A relative mutation keeps the ones before it, an absolute one replaces them.
func TestMutation_After(t *testing.T) {
	tag := Mutation{Apply: func(current Versioned) Versioned {
		if current.Found {
			current.Rec.Metadata = map[string]string{"tag": "yes"}
		}
		return current
	}}
	key := api.NewCid(pinsvctest.RawCID(1))
	both := tag.after(rename(1, "a"))
	if got := both.Apply(Versioned{}); !got.Found || got.Rec.Name != "a" || got.Rec.Metadata["tag"] != "yes" || !both.Absolute {
		t.Errorf("rename, then tag: %+v, absolute %t", got, both.Absolute)
	}
	if got := tag.after(Remove(key)).Apply(version(named(1, "a"))); got.Found {
		t.Errorf("remove, then tag: %+v", got)
	}
	if got := rename(1, "b").after(tag).Apply(version(named(1, "a"))); got.Rec.Name != "b" || got.Rec.Metadata != nil {
		t.Errorf("tag, then rename: %+v", got)
	}
	if got := tag.after(Mutation{}); got.Absolute || got.Apply(Versioned{}).Found {
		t.Errorf("tag alone: %+v", got)
	}
}
