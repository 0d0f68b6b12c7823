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

// Upstream answers most of these with 500, and some with all pins.
func TestBadListParametersAre400AndNamed(t *testing.T) {
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

func TestUnknownParametersAreIgnored(t *testing.T) {
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

func TestListFilters(t *testing.T) {
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
func TestPagingByBeforeSeesEachPinOnce(t *testing.T) {
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

func TestThePageIs10ByDefault(t *testing.T) {
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
