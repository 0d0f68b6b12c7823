package faults

import "testing"

func TestRegistry_FindsWhatComesFromAnotherPin(t *testing.T) {
	g := newRegistry()
	origins := []string{"o"}
	all, first := nameAndMeta.record("w1", origins)
	g.enter("a", all, first)
	_, second := nameOnly.record("w2", nil)
	g.enter("b", "w2", second)
	_, third := metaOnly.record("w3", nil)
	g.enter("b", "w3", third)
	plain, fourth := neither.record("w4", origins)
	g.enter("b", plain, fourth)

	for name, tt := range map[string]struct {
		cid  string
		got  Record
		want Value
	}{
		"as written":                 {"a", first, "w1"},
		"name alone":                 {"b", second, "w2"},
		"metadata alone":             {"b", third, "w3"},
		"neither":                    {"b", Record{}, Plain},
		"of another pin":             {"b", first, Foreign},
		"nothing, which nobody said": {"a", Record{}, Foreign},
		"a name that leaked":         {"b", Record{Name: "w1", Meta: third.Meta}, Foreign},
		"metadata that leaked":       {"b", Record{Name: "w2", Meta: first.Meta}, Foreign},
		"merged metadata": {"b", Record{Meta: map[string]string{metaKey: "w3", "key of w3": "x", "key of w1": "x"}},
			Foreign},
		"origins that leaked":   {"b", Record{Name: "w2", Origins: origins}, Foreign},
		"origins that are gone": {"a", Record{Name: first.Name, Meta: first.Meta}, Foreign},
	} {
		v, wrong := g.identify(tt.cid, tt.got)
		if v != tt.want || (wrong != "") != (tt.want == Foreign) {
			t.Errorf("%s: got %s, %q, want %s", name, v, wrong, tt.want)
		}
	}
}

func TestCanonical(t *testing.T) {
	const v0, v1 = "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR", "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
	if canonical(v1) != v1 || canonical("text") != "text" || canonical(canonical(v0)) != canonical(v0) || canonical(v0) == v0 {
		t.Errorf("%s, %s, %s", canonical(v0), canonical(v1), canonical("text"))
	}
}
