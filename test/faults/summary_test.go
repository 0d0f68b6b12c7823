package faults

import (
	"strings"
	"testing"
	"time"
)

// A long run that did too little is no clean one.
func TestSummary_Shortfalls(t *testing.T) {
	enough := Summary{Planned: 30 * time.Minute, Faults: map[FaultKind]int{KillPeer: 60, Garbage: 40}, Acknowledged: 50_000, Checked: 1}
	with := func(change func(*Summary)) Summary { s := enough; change(&s); return s }
	for name, tt := range map[string]struct {
		summary Summary
		want    string
	}{
		"enough":              {enough, ""},
		"few faults":          {with(func(s *Summary) { s.Faults = map[FaultKind]int{KillPeer: 99} }), "99 faults in 30m0s"},
		"few writes":          {with(func(s *Summary) { s.Acknowledged = 49_999 }), "49999 acknowledged writes in 30m0s"},
		"no reads":            {with(func(s *Summary) { s.Checked = 0 }), "no read"},
		"no reads, shorter":   {Summary{Planned: 10 * time.Minute}, "no read"},
		"short":               {Summary{Planned: 3 * time.Minute}, ""},
		"less than half hour": {Summary{Planned: 29 * time.Minute, Checked: 1}, ""},
	} {
		got := tt.summary.shortfalls()
		if tt.want == "" && len(got) > 0 || tt.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], tt.want)) {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// The summary says how many reads were checked while nothing was wrong, and how many copies were kept.
func TestSummary_String(t *testing.T) {
	text := Summary{Mode: CRDT, Copies: 2, Checked: 417}.String()
	for _, want := range []string{"copies 2,", "while nothing was wrong: 417,"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %s", want, text)
		}
	}
}
