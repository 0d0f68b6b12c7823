package pinsvcapi

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func TestDecodePin_BadBodyIs400AndPinsNothing(t *testing.T) {
	s := start(t)
	id := s.pinID(pinsvc.Pin{CID: someCID(99), Name: "held"})
	tests := []struct{ name, body, details string }{
		{"no fields", `{}`, "cid"},
		{"null", `null`, "object"},
		{"an array", `[]`, "object"},
		{"no CID", `{"name":"x"}`, "cid"},
		{"an empty CID", `{"cid":""}`, "cid"},
		{"no text as CID", `{"cid":7}`, "cid"},
		{"a wrong CID", `{"cid":"notacid"}`, "cid"},
		{"no JSON", `cid=x`, "JSON"},
		{"half of a document", `{"cid":"`, "JSON"},
		{"garbage after the document", body(1, "") + `x`, "JSON"},
		{"a second document", body(1, "") + body(2, ""), "JSON"},
		{"name that is no text", body(1, `,"name":7`), "name"},
		{"name that is too long", body(1, `,"name":"`+strings.Repeat("é", 256)+`"`), "name"},
		{"meta that is no text", body(1, `,"meta":{"a":1}`), "meta"},
		{"meta that is no object", body(1, `,"meta":["a"]`), "meta"},
		{"meta of more than 16 KiB", body(1, `,"meta":{"a":"`+strings.Repeat("x", 17<<10)+`"}`), "meta"},
		{"a reserved key", body(1, `,"meta":{"pinsvc.created":"x"}`), "meta"},
		{"origin that is no address", body(1, `,"origins":["x"]`), "origins"},
		{"origin without /p2p", body(1, `,"origins":["/ip4/203.0.113.9/tcp/4001"]`), "origins"},
		{"origins that are no list", body(1, `,"origins":"x"`), "origins"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.do(http.MethodPost, "/pins", tt.body).fails(400, "BAD_REQUEST", tt.details)
			s.do(http.MethodPost, "/pins/"+id, tt.body).fails(400, "BAD_REQUEST", tt.details)
		})
	}
	s.do(http.MethodPost, "/pins", "").fails(400, "BAD_REQUEST", "empty")
	if names := s.names(everyStatus); len(names) != 1 || names[0] != "held" {
		t.Errorf("there are %q", names)
	}
}

func TestAddPin_NamesAreCountedInCodePoints(t *testing.T) {
	s := start(t)
	for i, name := range []string{
		strings.Repeat("🗂", 255), strings.Repeat("é", 255), strings.Repeat("a", 255), strings.Repeat(`\u00e9`, 255), strings.Repeat(`\"`, 255),
	} {
		st := s.do(http.MethodPost, "/pins", body(i, `,"name":"`+name+`"`)).pinStatus(http.StatusAccepted)
		if n := len([]rune(st.Pin.Name)); n != 255 {
			t.Errorf("a name of %d code points", n)
		}
	}
}

func TestAddPin_MoreThan20OriginsAreCut(t *testing.T) {
	s := start(t)
	var origins []string
	for i := range 25 {
		origins = append(origins, fmt.Sprintf(`"/ip4/203.0.113.%d/tcp/4001/p2p/%s"`, i+1, somePeer))
	}
	st := s.do(http.MethodPost, "/pins", body(1, `,"origins":[`+strings.Join(origins, ",")+`]`)).pinStatus(http.StatusAccepted)
	if len(st.Pin.Origins) != 20 {
		t.Errorf("%d origins", len(st.Pin.Origins))
	}
}

func TestDecodePin_PrivateOriginsAreKeptUnlessRefused(t *testing.T) {
	tests := []struct {
		origin  string
		private bool
	}{
		{"/ip4/192.168.1.9/tcp/4001", true},
		{"/ip4/10.0.0.1/udp/4001/quic-v1", true},
		{"/ip4/127.0.0.1/tcp/4001", true},
		{"/ip4/169.254.1.1/tcp/4001", true},
		{"/ip4/0.0.0.0/tcp/4001", true},
		{"/ip6/::1/tcp/4001", true},
		{"/ip6/fe80::1/tcp/4001", true},
		{"/ip6/fc00::1/tcp/4001", true},
		{"/ip4/203.0.113.9/tcp/4001", false},
		{"/ip6/2001:db8::1/tcp/4001", false},
		{"/dns4/node.example/tcp/4001", false},
		{"/ip4/203.0.113.9/tcp/4001/p2p/" + somePeer + "/p2p-circuit", false},
	}
	keeps := start(t)
	refuses := start(t, func(set *setup) { set.cfg.RefusePrivateOrigins = true })
	for i, tt := range tests {
		pin := body(i, `,"origins":["`+tt.origin+`/p2p/`+somePeer+`"]`)
		if st := keeps.do(http.MethodPost, "/pins", pin).pinStatus(http.StatusAccepted); len(st.Pin.Origins) != 1 {
			t.Errorf("%s is not kept", tt.origin)
		}
		rep := refuses.do(http.MethodPost, "/pins", pin)
		if tt.private {
			rep.fails(400, "BAD_REQUEST", tt.origin)
			continue
		}
		rep.is(http.StatusAccepted)
	}
}

func TestHandlers_PassTheCallerToTheBackend(t *testing.T) {
	// The fake does not distinguish users; this one keeps them.
	users := make(chan pinsvc.User, 1)
	s := start(t, func(set *setup) {
		inner := set.backend
		set.opts.NewBackend = newBackendFunc(&userRecorder{scripted: inner, users: users})
	})
	id := pinsvctest.RawCID(1).String()
	for _, user := range []string{testUser, "bob"} {
		password := map[string]string{testUser: testPassword, "bob": "hunter2"}[user]
		for _, tt := range []struct{ method, path, body string }{
			{"GET", "/pins", ""}, {"POST", "/pins", body(1, "")}, {"GET", "/pins/" + id, ""},
			{"POST", "/pins/" + id, body(1, "")}, {"DELETE", "/pins/" + id, ""},
		} {
			s.do(tt.method, tt.path, tt.body, as(user, password))
			if got := <-users; got != pinsvc.User(user) {
				t.Errorf("%s %s of %s is %q's", tt.method, tt.path, user, got)
			}
		}
	}
}

// Upstream responds to most of these with 500, and to some with all pins.
func TestListPins_BadParametersAre400AndNamed(t *testing.T) {
	s := start(t)
	eleven := make([]string, 11)
	for i := range eleven {
		eleven[i] = someCID(i).String()
	}
	tests := []struct{ query, parameter string }{
		{"limit=0", "limit"}, {"limit=-1", "limit"}, {"limit=1001", "limit"}, {"limit=5000", "limit"}, {"limit=x", "limit"},
		{"limit=1.5", "limit"}, {"limit=99999999999999999999", "limit"}, {"limit=1&limit=2", "limit"},
		{"status=bogus", "status"}, {"status=pinned,bogus", "status"}, {"status=PINNED", "status"},
		{"match=fuzzy", "match"}, {"name=x&match=Exact", "match"},
		{"before=yesterday", "before"}, {"before=1700000000", "before"}, {"after=2026-13-01T00:00:00Z", "after"},
		{"cid=notacid", "cid"}, {"cid=" + strings.Join(eleven, ","), "cid"}, {"cid=" + strings.Join(eleven, "&cid="), "cid"},
		{"cid=" + someCID(1).String() + ",x", "cid"},
		{"meta=x", "meta"}, {`meta={"a":1}`, "meta"}, {"meta=[]", "meta"},
		{"name=" + strings.Repeat("x", 256), "name"},
		{"name=%zz", "query"},
	}
	for _, tt := range tests {
		query := tt.query
		if !strings.Contains(query, "%") {
			query = strings.NewReplacer(`"`, "%22", "{", "%7B", "}", "%7D").Replace(query)
		}
		s.do(http.MethodGet, "/pins?"+query, "").fails(400, "BAD_REQUEST", tt.parameter)
	}
}

func TestListPins_UnknownParametersAreIgnored(t *testing.T) {
	s := start(t)
	s.do(http.MethodGet, "/pins?utm_source=x&limits=0", "").is(http.StatusOK)
}

// fill makes pins of every status, created in this order, with meta k=v of
// their number.
func fill(t *testing.T, s *service) {
	t.Helper()
	for i, status := range []pinsvc.Status{pinsvc.StatusQueued, pinsvc.StatusPinning, pinsvc.StatusPinned, pinsvc.StatusFailed} {
		id := s.pinID(pinsvc.Pin{CID: pinsvctest.V0CID(i), Name: "Pin " + status.String(), Meta: map[string]string{"n": fmt.Sprint(i), "all": ""}})
		s.backend.SetStatus(id, status)
	}
}

func TestListPins_Filters(t *testing.T) {
	s := start(t)
	fill(t, s)
	all := []string{"Pin failed", "Pin pinned", "Pin pinning", "Pin queued"}
	cids := fmt.Sprintf("cid=%s,%s", pinsvctest.V0CID(0), pinsvctest.V1CID(3))
	tests := []struct {
		query string
		want  []string
	}{
		{"", []string{"Pin pinned"}}, // D4
		{"limit=5", []string{"Pin pinned"}},
		{"before=2100-01-01T00:00:00Z", []string{"Pin pinned"}},
		{everyStatus, all},
		{"status=queued&status=failed", []string{"Pin failed", "Pin queued"}},
		{"name=Pin&match=partial", all},
		{"name=pIN&match=ipartial", all},
		{"name=pin queued", []string{}},
		{"name=pin queued&match=iexact", []string{"Pin queued"}},
		{"name=Pin queued", []string{"Pin queued"}},
		{"name=Pin queued&status=pinned", []string{}},
		{cids, []string{"Pin failed", "Pin queued"}},
		{strings.ReplaceAll(cids, ",", "&cid="), []string{"Pin failed", "Pin queued"}},
		{cids + "&status=failed", []string{"Pin failed"}},
		{cids + "&name=Pin queued", []string{"Pin queued"}},
		{cids + "&limit=1", []string{"Pin failed"}},
		{cids + "&before=2000-01-01T00:00:00Z", []string{}},
		{"cid=" + pinsvctest.V0CID(0).String() + "," + pinsvctest.V1CID(0).String(), []string{"Pin queued"}},
		{`meta={"n":"1"}`, []string{"Pin pinning"}},
		{"meta[n]=1", []string{"Pin pinning"}},
		{"meta=map[n:1]", []string{"Pin pinning"}},
		{`meta={"all":"","n":"0"}`, []string{"Pin queued"}},
		{`meta={"none":""}`, []string{}},
		{everyStatus + "&after=2100-01-01T00:00:00Z", []string{}},
	}
	for _, tt := range tests {
		values := []string{}
		for part := range strings.SplitSeq(tt.query, "&") {
			key, value, _ := strings.Cut(part, "=")
			if strings.HasPrefix(part, "meta[") {
				key, value = "meta[n]", "1"
			}
			values = append(values, url.QueryEscape(key)+"="+url.QueryEscape(value))
		}
		if got := s.names(strings.Join(values, "&")); !slices.Equal(got, tt.want) {
			t.Errorf("%s lists %q, want %q", tt.query, got, tt.want)
		}
	}
}

// walkAs lists everything as a client does that shows times with the layout.
func (s *service) walkAs(limit int, layout string) []string {
	s.t.Helper()
	var names []string
	before := ""
	for range 100 {
		var page pinsvc.PinResults
		s.do(http.MethodGet, fmt.Sprintf("/pins?limit=%d&status=queued%s", limit, before), "").decode(http.StatusOK, &page)
		for _, st := range page.Results {
			names = append(names, st.Pin.Name)
		}
		if page.Count == len(page.Results) {
			return names
		}
		last := page.Results[len(page.Results)-1].Created
		before = "&before=" + url.QueryEscape(last.Format(layout))
	}
	s.t.Fatal("the list never ends")
	return nil
}

// Upstream never ends over 15 pins of one second, and loses some of 25.
func TestListPins_PagingByBeforeSeesEachPinOnce(t *testing.T) {
	s := start(t)
	var want []string
	for i := range 25 {
		s.pinID(pinsvc.Pin{CID: someCID(i), Name: fmt.Sprint(i)})
		want = append(want, fmt.Sprint(i))
	}
	slices.Reverse(want)
	const javaScript = "2006-01-02T15:04:05.000Z07:00"
	for _, layout := range []string{time.RFC3339Nano, javaScript} {
		for _, limit := range []int{1, 3, 10, 25, 1000} {
			if got := s.walkAs(limit, layout); !slices.Equal(got, want) {
				t.Errorf("limit %d, times as %s: %v, want %v", limit, layout, got, want)
			}
		}
	}
}

func TestListPins_PageIs10ByDefault(t *testing.T) {
	s := start(t)
	for i := range 12 {
		s.backend.SetStatus(s.pinID(pinsvc.Pin{CID: someCID(i)}), pinsvc.StatusPinned)
	}
	var page pinsvc.PinResults
	s.do(http.MethodGet, "/pins", "").decode(http.StatusOK, &page)
	if len(page.Results) != 10 || page.Count != 12 {
		t.Errorf("%d of %d", len(page.Results), page.Count)
	}
}

func TestHandlers_AddReplaceAndDeleteAre202(t *testing.T) {
	s := start(t)
	st := s.do(http.MethodPost, "/pins", body(1, `,"name":"one"`)).pinStatus(http.StatusAccepted)
	if st.Pin.Name != "one" || st.Status != pinsvc.StatusQueued {
		t.Errorf("%+v", st)
	}
	st = s.do(http.MethodPost, "/pins/"+st.RequestID, body(2, `,"name":"two"`)).pinStatus(http.StatusAccepted)
	if st.Pin.Name != "two" || st.RequestID != someCID(2).String() {
		t.Errorf("%+v", st)
	}
	rep := s.do(http.MethodDelete, "/pins/"+st.RequestID, "").is(http.StatusAccepted)
	if len(rep.body) != 0 || rep.header.Get("Content-Type") != "" {
		t.Errorf("DELETE responds %q of %q", rep.body, rep.header.Get("Content-Type"))
	}
	s.do(http.MethodGet, "/pins/"+st.RequestID, "").fails(404, "NOT_FOUND", "")
}

func TestAddPin_SaysTheRealStatus(t *testing.T) {
	s := start(t)
	id := s.pinID(pinsvc.Pin{CID: someCID(1)})
	s.backend.SetStatus(id, pinsvc.StatusPinned)
	if st := s.do(http.MethodPost, "/pins", body(1, "")).pinStatus(http.StatusAccepted); st.Status != pinsvc.StatusPinned {
		t.Errorf("status %s, want pinned", st.Status)
	}
}

func TestReplacePin_SameCIDKeepsThePin(t *testing.T) {
	s := start(t)
	id := s.pinID(pinsvc.Pin{CID: someCID(1), Name: "one"})
	st := s.do(http.MethodPost, "/pins/"+id, body(1, `,"meta":{"a":"b"}`)).pinStatus(http.StatusAccepted)
	if st.RequestID != id || st.Pin.Name != "" || st.Pin.Meta["a"] != "b" {
		t.Errorf("%+v", st)
	}
	s.do(http.MethodGet, "/pins/"+id, "").is(http.StatusOK)
}

// Upstream pins the CID, unpins nothing, and sends two documents.
func TestReplacePin_UnknownRequestIDPinsNothing(t *testing.T) {
	s := start(t)
	for _, id := range []string{"notacid", someCID(9).String(), "..", "%00"} {
		s.do(http.MethodPost, "/pins/"+id, body(1, "")).fails(404, "NOT_FOUND", "")
	}
	if names := s.names("status=queued,pinning,pinned,failed"); len(names) != 0 {
		t.Errorf("%d pins", len(names))
	}
}

func TestGetPin_UnknownRequestIDsAre404(t *testing.T) {
	s := start(t)
	for _, id := range []string{"x", "notacid", someCID(1).String(), pinsvctest.V0CID(1).String(), ".", "..", "%20", "ü", strings.Repeat("a", 2000)} {
		s.do(http.MethodGet, "/pins/"+id, "").fails(404, "NOT_FOUND", "")
		s.do(http.MethodDelete, "/pins/"+id, "").fails(404, "NOT_FOUND", "")
	}
}

// The examples are what a client reads off the wire, byte by byte.
func TestHandlers_GoldenWireExamples(t *testing.T) {
	s := start(t, func(set *setup) { set.opts.Version = "1.2.3" })
	one := someCID(1).String()
	s.backend.PinElsewhere(time.Date(2026, 1, 2, 15, 4, 5, 678_000_000, time.UTC), pinsvc.Pin{
		CID: someCID(1), Name: `a "name" <&> ü`, Meta: map[string]string{"app": "x"},
		Origins: addrs(t, "/ip4/203.0.113.9/tcp/4001/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"),
	})
	s.backend.PinElsewhere(time.Date(2026, 1, 2, 15, 4, 6, 0, time.UTC), pinsvc.Pin{CID: someCID(2)})
	s.backend.SetStatus(one, pinsvc.StatusPinned)
	s.backend.SetStatus(someCID(2).String(), pinsvc.StatusFailed)
	first := `{"requestid":"` + one + `","status":"pinned","created":"2026-01-02T15:04:05.678Z",` +
		`"pin":{"cid":"` + one + `","name":"a \"name\" <&> ü",` +
		`"origins":["/ip4/203.0.113.9/tcp/4001/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"],` +
		`"meta":{"app":"x"}},"delegates":["` + pinsvctest.FakeDelegate + `"]}`
	two := someCID(2).String()
	second := `{"requestid":"` + two + `","status":"failed","created":"2026-01-02T15:04:06.000Z",` +
		`"pin":{"cid":"` + two + `"},"delegates":["` + pinsvctest.FakeDelegate + `"],` +
		`"info":{"status_details":"the fake was told to fail this pin"}}`
	tests := []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/pins", "", 200, `{"count":1,"results":[` + first + `]}`},
		{"GET", "/pins?status=pinned,failed", "", 200, `{"count":2,"results":[` + second + `,` + first + `]}`},
		{"GET", "/pins?name=nobody", "", 200, `{"count":0,"results":[]}`},
		{"GET", "/pins/" + one, "", 200, first},
		{"GET", "/pins/" + two, "", 200, second},
		{"POST", "/pins", `{"cid":"` + one + `"}`, 202, `{"requestid":"` + one + `","status":"pinned","created":"2026-01-02T15:04:05.678Z",` +
			`"pin":{"cid":"` + one + `"},"delegates":["` + pinsvctest.FakeDelegate + `"]}`},
		{"POST", "/pins/" + two, `{"cid":"` + two + `","name":"again"}`, 202, `{"requestid":"` + two + `","status":"queued","created":"2026-01-02T15:04:06.000Z",` +
			`"pin":{"cid":"` + two + `","name":"again"},"delegates":["` + pinsvctest.FakeDelegate + `"]}`},
		{"GET", "/pins/x", "", 404, `{"error":{"reason":"NOT_FOUND","details":"no pin has the request ID \"x\""}}`},
		{"GET", "/health", "", 200, `{"status":"alive","version":"1.2.3"}`},
		{"GET", "/ready", "", 200, `{"status":"ready"}`},
	}
	for _, tt := range tests {
		rep := s.do(tt.method, tt.path, tt.body).is(tt.status)
		if got := string(rep.body); got != tt.want+"\n" {
			t.Errorf("%s %s responds\n%swant\n%s", tt.method, tt.path, got, tt.want)
		}
		if got := rep.header.Get("Content-Type"); got != "application/json" {
			t.Errorf("%s %s: Content-Type %q", tt.method, tt.path, got)
		}
	}
	s.do("DELETE", "/pins/"+one, "").is(202)
}
