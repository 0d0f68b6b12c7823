package faults

import "testing"

// Only a pin that was changed while its list was read may be in it twice.
func TestTwiceIn(t *testing.T) {
	const v0, v1 = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n", "bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
	of := func(cid, created string) pin { return pin{Created: created, Pin: wirePin{CID: cid}} }
	for name, tt := range map[string]struct {
		list         []pin
		found, moved bool
	}{
		"two pins":        {[]pin{of(v1, "1"), of("bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy", "1")}, false, false},
		"a page repeated": {[]pin{of(v1, "1"), of(v1, "1")}, true, false},
		"moved":           {[]pin{of(v1, "2"), of(v1, "1")}, true, true},
		"two forms":       {[]pin{of(v1, "1"), of(v0, "1")}, true, true},
	} {
		got := twiceIn(tt.list)
		if (len(got) == 1) != tt.found || tt.found && got[0].moved != tt.moved {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
