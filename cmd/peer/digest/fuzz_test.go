package digest

import "testing"

// FuzzParse reads what any peer of the cluster may publish as its digest.
func FuzzParse(f *testing.F) {
	for _, d := range []Digest{{}, {Count: 3, Sum: 0xfeed}, {Count: 1<<64 - 1, Sum: 1<<64 - 1}} {
		f.Add(d.String())
	}
	f.Add("2:3:0")
	f.Add("1:-3:0x1")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := Parse(text)
		if err != nil {
			return
		}
		if again, err := Parse(d.String()); err != nil || again != d {
			t.Errorf("%q: %v, %v, want %v", text, again, err, d)
		}
	})
}
