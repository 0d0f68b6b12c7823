package peer

import (
	"slices"
	"testing"
)

func TestHealthDetails_AreThoseOfAllSources(t *testing.T) {
	var d healthDetails
	if all := d.all(); all != nil {
		t.Errorf("without sources: %q", all)
	}
	d.add(func() []string { return []string{"one", "two"} })
	d.add(func() []string { return nil })
	d.add(func() []string { return []string{"three"} })
	if all := d.all(); !slices.Equal(all, []string{"one", "two", "three"}) {
		t.Errorf("reported %q", all)
	}
}
