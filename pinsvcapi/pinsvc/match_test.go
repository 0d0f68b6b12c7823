package pinsvc

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"pgregory.net/rapid"
)

// identity is a multihash whose digest is n bytes of content.
func identity(n int) multihash.Multihash {
	hash, err := multihash.Encode(make([]byte, n), multihash.IDENTITY)
	if err != nil {
		panic(err)
	}
	return hash
}

func distinctCIDs(t testing.TB, n int) []string {
	t.Helper()
	var texts []string
	for i := range n {
		hash, err := multihash.Sum(fmt.Append(nil, i), multihash.SHA2_256, -1)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, cid.NewCidV1(cid.Raw, hash).String())
	}
	return texts
}

func TestMatch(t *testing.T) {
	tests := []struct {
		name, filter                     string
		exact, iexact, partial, ipartial bool
	}{
		{"Report", "", true, true, true, true},
		{"", "", true, true, true, true},
		{"", "x", false, false, false, false},
		{"Report", "Report", true, true, true, true},
		{"Report", "rEPORT", false, true, false, true},
		{"Report", "epo", false, false, true, true},
		{"Report", "EPO", false, false, false, true},
		{"Report", "Reports", false, false, false, false},
		{"ÄRGER", "ärger", false, true, false, true},
		{"ΣΊΣΥΦΟΣ", "σίσυφος", false, true, false, true},
		{"K2 (Kelvin)", "\u212a2", false, false, false, true},
		{"straße", "STRASSE", false, false, false, false},
		{"a%b_c*", "%", false, false, true, true},
		{"é", "e\u0301", false, false, false, false},
	}
	for _, test := range tests {
		for match, want := range map[TextMatchingStrategy]bool{
			MatchExact: test.exact, MatchIExact: test.iexact, MatchPartial: test.partial, MatchIPartial: test.ipartial,
			MatchIPartial + 1: test.filter == "",
		} {
			if got := match.Matches(test.name, test.filter); got != want {
				t.Errorf("%q, filter %q, %v: %v", test.name, test.filter, match, got)
			}
		}
	}
}

func TestFoldIsEqualFold(t *testing.T) {
	letters := rapid.SampledFrom([]rune("aAkK\u212asSſßẞǅǆǄσςΣİıIiéÉ日"))
	text := rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOfN(letters, 0, 4).Draw(t, "letters")) })
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.OneOf(text, rapid.String()).Draw(t, "a")
		b := rapid.OneOf(text, rapid.Just(strings.ToUpper(a)), rapid.Just(strings.ToLower(a))).Draw(t, "b")
		if got, want := Fold(a) == Fold(b), strings.EqualFold(a, b); got != want {
			t.Fatalf("%q and %q: %v, strings.EqualFold says %v", a, b, got, want)
		}
		if Fold(Fold(a)) != Fold(a) || utf8.RuneCountInString(Fold(a)) != utf8.RuneCountInString(a) {
			t.Fatalf("Fold(%q) is %q", a, Fold(a))
		}
	})
}

func TestWordsRoundTrip(t *testing.T) {
	for _, s := range AllStatuses.Statuses() {
		checkWord(t, s)
	}
	for _, m := range []TextMatchingStrategy{MatchExact, MatchIExact, MatchPartial, MatchIPartial} {
		checkWord(t, m)
	}
	for _, bad := range []any{Status(0), StatusFailed + 1, Status(255), MatchIPartial + 1} {
		if text, err := json.Marshal(bad); err == nil {
			t.Errorf("%#v was written as %s", bad, text)
		}
		if text := fmt.Sprint(bad); text != "undefined" {
			t.Errorf("%#v is called %s", bad, text)
		}
	}
}

func checkWord[T comparable](t *testing.T, value T) {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var back T
	if err := json.Unmarshal(text, &back); err != nil || back != value {
		t.Errorf("%s was read as %v, %v", text, back, err)
	}
	if err := json.Unmarshal([]byte(`"undefined"`), &back); err == nil {
		t.Errorf(`"undefined" was read as %v`, back)
	}
}

func TestStatusSet(t *testing.T) {
	if got := SetOf(0, StatusFailed, StatusFailed+1, StatusQueued, 255).String(); got != "queued,failed" {
		t.Errorf("the set is %s", got)
	}
	if AllStatuses.String() != "queued,pinning,pinned,failed" || StatusSet(0).String() != "" || StatusSet(0).Has(0) {
		t.Error("the full or the empty set is wrong")
	}
}

func TestSamePin(t *testing.T) {
	v0 := cid.MustParse(textV0)
	v1 := cid.NewCidV1(cid.DagProtobuf, v0.Hash())
	sha512, err := multihash.Sum([]byte("x"), multihash.SHA2_512, -1)
	if err != nil {
		t.Fatal(err)
	}
	all := []cid.Cid{v0, v1, cid.NewCidV1(cid.Raw, v0.Hash()), cid.MustParse(textV1),
		cid.NewCidV1(cid.DagProtobuf, sha512), cid.NewCidV1(cid.DagProtobuf, identity(4)), cid.Undef}
	for i, a := range all {
		for j, b := range all {
			if got, want := SamePin(a, b), i == j || i+j == 1; got != want {
				t.Errorf("SamePin(%v, %v) is %v", a, b, got)
			}
			if got := PinKey(a) == PinKey(b); got != SamePin(a, b) {
				t.Errorf("PinKey of %v and %v: %v", a, b, got)
			}
		}
	}
	for i, c := range all {
		other, ok := OtherForm(c)
		if hasOther := i < 2 || i == 3; ok != hasOther || ok && (other == c || !SamePin(other, c)) {
			t.Errorf("OtherForm(%v) is %v, %v", c, other, ok)
		}
		if back, _ := OtherForm(other); ok && back != c {
			t.Errorf("the other form of %v is %v", other, back)
		}
	}
	if other, _ := OtherForm(v0); other != v1 {
		t.Errorf("the other form of %v is %v, want %v", v0, other, v1)
	}
}

func TestParseRequestID(t *testing.T) {
	for _, text := range append(distinctCIDs(t, 2), textV0, textV1) {
		if c, ok := ParseRequestID(text); !ok || c.String() != text {
			t.Errorf("%s was read as %v, %v", text, c, ok)
		}
	}
	for _, text := range []string{"", "x", "..", "0d3c8a4e-7c1f-4b8e-9d7e-1f7d1a5f3c11", "/ipfs/" + textV1, textV1 + "x", textV0[1:]} {
		if c, ok := ParseRequestID(text); ok {
			t.Errorf("%s was read as %v", text, c)
		}
	}
}

func TestAppendCID(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCID(t)
		if got := string(appendCID(nil, c.KeyString())); got != c.String() {
			t.Fatalf("got %s, want %s", got, c)
		}
	})
	for _, digest := range []byte{0, 255} {
		hash, err := multihash.Encode(slices.Repeat([]byte{digest}, 32), multihash.SHA2_256)
		if err != nil {
			t.Fatal(err)
		}
		if c := cid.NewCidV0(hash); string(appendCID(nil, c.KeyString())) != c.String() {
			t.Errorf("got %s, want %s", appendCID(nil, c.KeyString()), c)
		}
	}
}

func TestQueryMatches(t *testing.T) {
	v0 := cid.MustParse(textV0)
	v0AsV1, _ := OtherForm(v0)
	created := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	ps := PinStatus{Status: StatusQueued, Created: created, Pin: Pin{CID: v0, Name: "Name", Meta: map[string]string{"a": "", "b": "1"}}}
	tests := map[string]struct {
		change func(*Query)
		want   bool
	}{
		"everything":       {func(*Query) {}, true},
		"CID":              {func(q *Query) { q.CIDs = []cid.Cid{cid.MustParse(textV1), v0} }, true},
		"CID, other form":  {func(q *Query) { q.CIDs = []cid.Cid{v0AsV1} }, true},
		"another CID":      {func(q *Query) { q.CIDs = []cid.Cid{cid.MustParse(textV1)} }, false},
		"name":             {func(q *Query) { q.Name = "Name" }, true},
		"another name":     {func(q *Query) { q.Name = "name" }, false},
		"name, any case":   {func(q *Query) { q.Name, q.Match = "name", MatchIExact }, true},
		"status":           {func(q *Query) { q.Statuses = SetOf(StatusQueued, StatusFailed) }, true},
		"another status":   {func(q *Query) { q.Statuses = SetOf(StatusPinned) }, false},
		"before itself":    {func(q *Query) { q.Before = created }, false},
		"before later":     {func(q *Query) { q.Before = created.Add(1) }, true},
		"after itself":     {func(q *Query) { q.After = created }, false},
		"after earlier":    {func(q *Query) { q.After = created.Add(-1) }, true},
		"meta":             {func(q *Query) { q.Meta = map[string]string{"b": "1"} }, true},
		"meta, empty":      {func(q *Query) { q.Meta = map[string]string{"a": ""} }, true},
		"meta, missing":    {func(q *Query) { q.Meta = map[string]string{"c": ""} }, false},
		"meta, one of two": {func(q *Query) { q.Meta = map[string]string{"b": "1", "a": "x"} }, false},
	}
	for name, test := range tests {
		q := Query{Statuses: AllStatuses, Limit: DefaultLimit}
		test.change(&q)
		if got := q.Matches(ps); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestFailureOf(t *testing.T) {
	cause := fmt.Errorf("secret")
	tests := []struct {
		err  error
		want Failure
	}{
		{cause, Failure{Reason: "INTERNAL_SERVER_ERROR"}},
		{Wrap(KindInternal, cause, "detail"), Failure{Reason: "INTERNAL_SERVER_ERROR"}},
		{Wrap(200, cause, "detail"), Failure{Reason: "INTERNAL_SERVER_ERROR"}},
		{Wrap(KindNotFound, cause, "detail"), Failure{Reason: "NOT_FOUND", Details: "detail"}},
		{fmt.Errorf("wrapped: %w", Wrap(KindUnavailable, cause, "detail")), Failure{Reason: "SERVICE_UNAVAILABLE", Details: "detail"}},
	}
	for _, test := range tests {
		if got := FailureOf(test.err); got != test.want {
			t.Errorf("%v: %+v", test.err, got)
		}
	}
	reasons := make(map[string]bool)
	for kind := KindInternal; kind <= KindUnavailable; kind++ {
		reasons[kind.String()] = true
	}
	if want := int(KindUnavailable) + 1; len(reasons) != want {
		t.Errorf("%d kinds have %d reasons", want, len(reasons))
	}
	var back Failure
	data, err := json.Marshal(Failure{Reason: "X"})
	if err != nil || string(data) != `{"error":{"reason":"X"}}` {
		t.Errorf("got %s, %v", data, err)
	}
	if err := json.Unmarshal(data, &back); err != nil || !reflect.DeepEqual(back, Failure{Reason: "X"}) {
		t.Errorf("got %+v, %v", back, err)
	}
}
