package pinsvc

import (
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
)

func TestParseQuery_Reads(t *testing.T) {
	v0, v1 := cid.MustParse(textV0), cid.MustParse(textV1)
	v0AsV1, _ := OtherForm(v0)
	utc := func(text string) time.Time {
		t.Helper()
		parsed, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed.UTC()
	}
	tests := map[string]Query{
		"":                                                 {Statuses: SetOf(StatusPinned)},
		"foo=bar&Limit=0&meta_x=1":                         {Statuses: SetOf(StatusPinned)},
		"cid=" + textV0:                                    {CIDs: []cid.Cid{v0}, Statuses: AllStatuses},
		"cid=" + textV0 + "," + textV1:                     {CIDs: []cid.Cid{v0, v1}, Statuses: AllStatuses},
		"cid=" + textV1 + "&cid=" + textV0:                 {CIDs: []cid.Cid{v1, v0}, Statuses: AllStatuses},
		"cid=" + textV1 + "," + textV1:                     {CIDs: []cid.Cid{v1}, Statuses: AllStatuses},
		"cid=" + v0AsV1.String() + "," + textV0:            {CIDs: []cid.Cid{v0AsV1}, Statuses: AllStatuses},
		"cid=" + textV0 + "&status=failed":                 {CIDs: []cid.Cid{v0}, Statuses: SetOf(StatusFailed)},
		"name=" + strings.Repeat("%F0%9F%98%80", 255):      {Name: strings.Repeat("😀", 255), Statuses: AllStatuses},
		"name=&match=&status=&before=&after=&limit=&meta=": {Statuses: SetOf(StatusPinned)},
		"name=&name=x&name=x":                              {Name: "x", Statuses: AllStatuses},
		"name=+":                                           {Name: " ", Statuses: AllStatuses},
		"match=iexact":                                     {Match: MatchIExact, Statuses: SetOf(StatusPinned)},
		"name=x&match=ipartial":                            {Name: "x", Match: MatchIPartial, Statuses: AllStatuses},
		"status=queued,queued&status=failed":               {Statuses: SetOf(StatusQueued, StatusFailed)},
		"limit=1":                                          {Limit: 1, Statuses: SetOf(StatusPinned)},
		"limit=1000&limit=1000":                            {Limit: 1000, Statuses: SetOf(StatusPinned)},
		"before=2026-01-02T15:04:05Z":                      {Before: utc("2026-01-02T15:04:05Z"), Statuses: SetOf(StatusPinned)},
		"before=2026-01-02T15:04:05.123456789%2B05:30&before=2026-01-02T09:34:05.123456789Z": {
			Before: utc("2026-01-02T09:34:05.123456789Z"), Statuses: SetOf(StatusPinned)},
		"after=2026-01-02T15:04:05-00:00": {After: utc("2026-01-02T15:04:05Z"), Statuses: SetOf(StatusPinned)},
		"before=0001-01-01T00:00:00Z":     {Before: time.Time{}.Add(1), Statuses: SetOf(StatusPinned)},
		"meta={}":                         {Statuses: SetOf(StatusPinned)},
		"meta=map[]":                      {Statuses: SetOf(StatusPinned)},
		`meta={"a":""}`:                   {Meta: map[string]string{"a": ""}, Statuses: AllStatuses},
		`meta={"a":"\ud83d\ude00"}`:       {Meta: map[string]string{"a": "😀"}, Statuses: AllStatuses},
		"meta[a]=1&meta[b]=":              {Meta: map[string]string{"a": "1", "b": ""}, Statuses: AllStatuses},
		`meta={"a":"1"}&meta[a]=1&meta=map[b:2]&meta[c]=3`: {Meta: map[string]string{"a": "1", "b": "2", "c": "3"}, Statuses: AllStatuses},
		"meta=map[a:]":          {Meta: map[string]string{"a": ""}, Statuses: AllStatuses},
		"meta=map[a:+b:2]":      {Meta: map[string]string{"a": "", "b": "2"}, Statuses: AllStatuses},
		"meta=map[a:b:c]":       {Meta: map[string]string{"a": "b:c"}, Statuses: AllStatuses},
		"meta=map[a+key:1+b:2]": {Meta: map[string]string{"a key": "1", "b": "2"}, Statuses: AllStatuses},
		"meta=map[app:two++words+note:see+http://x.example/]": {Meta: map[string]string{"app": "two  words", "note": "see http://x.example/"}, Statuses: AllStatuses},
		"meta=map[k:[1]]": {Meta: map[string]string{"k": "[1]"}, Statuses: AllStatuses},
		"meta[a]=" + strings.Repeat("x", MaxMetaBytes-len("a")): {Meta: map[string]string{"a": strings.Repeat("x", MaxMetaBytes-1)}, Statuses: AllStatuses},
	}
	for raw, want := range tests {
		if want.Limit == 0 {
			want.Limit = DefaultLimit
		}
		got, err := ParseRawQuery(raw)
		if err != nil {
			t.Errorf("%.80s: %v", raw, err)
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%.80s: read as %+v, want %+v", raw, got, want)
		}
	}
}

func TestParseQuery_Refuses(t *testing.T) {
	many := make(url.Values)
	for i := range MaxMetaPairs + 1 {
		many.Set(fmt.Sprintf("meta[%d]", i), "")
	}
	tests := map[string][]string{
		"cid": {"cid=", "cid=&cid=" + textV1, "cid=" + textV1 + ",", "cid=" + textV1 + ",,", "cid=foo", "cid=/ipfs/" + textV1,
			"cid=" + textV1 + "%20", "cid=" + strings.Join(distinctCIDs(t, MaxCIDs+1), ","),
			"cid=" + cid.NewCidV1(cid.Raw, identity(MaxDigestBytes+1)).String()},
		"name":   {"name=" + strings.Repeat("é", 256), "name=%ff", "name=a&name=b"},
		"match":  {"match=bogus", "match=Exact", "match=exact&match=iexact"},
		"status": {"status=bogus", "status=pinned,bogus", "status=pinned,", "status=Pinned", "status=pinned%20", "status=undefined"},
		"before": {"before=yesterday", "before=2026-01-02", "before=2026-01-02T15:04:05", "before=2026-01-02T15:04:05,1Z",
			"before=2026-01-02T15:04:05+02:00", "before=2026-01-02T5:04:05Z", "before=2026-02-30T15:04:05Z",
			"before=2026-01-02T15:04:05%2B24:00", "before=1767366245",
			"before=9999-12-31T23:59:59-01:00", "before=2026-01-02T15:04:05Z&before=2026-01-02T15:04:06Z"},
		"after": {"after=x", "after=2026-01-02T15:04:05Z&after=2026-01-02T15:04:06Z"},
		"limit": {"limit=0", "limit=1001", "limit=-1", "limit=%2B1", "limit=ten", "limit=1.0", "limit=1e1", "limit=0x1",
			"limit=99999999999999999999", "limit=1&limit=2", "limit=%201"},
		"meta": {"meta=x", "meta=null", "meta=[]", `meta="a"`, `meta={"a":1}`, `meta={"a":null}`, `meta={"a":"b"`, `meta={"a":"b"}x`,
			`meta={"a":"b","a":"c"}`, `meta={"a":"\ud800"}`, `meta={"\udc00x":""}`, `meta={"a":"%ff"}`, "meta=map[a:1", "meta=map[a]",
			"meta=map[a:%ff]", "meta[a=1", "meta[a]=%ff", "meta[a]=1&meta[a]=2", `meta={"a":"1"}&meta[a]=2`,
			"meta[pinsvc.created]=1", `meta={"pinsvc.":""}`, "meta[a]=" + strings.Repeat("x", MaxMetaBytes), many.Encode()},
		"the query string": {"name=%zz", "name=a;b"},
	}
	for parameter, raws := range tests {
		for _, raw := range raws {
			q, err := ParseRawQuery(raw)
			if err == nil {
				t.Errorf("%.80s was read as %+v", raw, q)
				continue
			}
			checkRefusal(t, raw, parameter, err)
		}
	}
}

// checkRefusal wants a KindBadRequest that names what is wrong, is one line
// and repeats only a little of what the client sent.
func checkRefusal(t *testing.T, input, field string, err error) {
	t.Helper()
	details := FailureOf(err).Details
	if KindOf(err) != KindBadRequest {
		t.Errorf("%.80s: %v is %v", input, err, KindOf(err))
	}
	if !strings.HasPrefix(details, field) || strings.ContainsAny(details, "\n\r") || len(details) > 400 {
		t.Errorf("%.80s: the details should begin with %q and be short: %q", input, field, details)
	}
}

func TestParseQuery_NamesThePlus(t *testing.T) {
	_, err := ParseRawQuery("before=2026-01-02T15:04:05+02:00")
	if err == nil || !strings.Contains(err.Error(), "%2B") {
		t.Errorf("got %v", err)
	}
}
