package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// TestBenchRuns runs the whole program at 1,000 pins and looks at what it
// writes, not at how fast anything is.
func TestBenchRuns(t *testing.T) {
	out := t.TempDir()
	s, err := parse([]string{"-quick", "-out", out})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.write(out); err != nil {
		t.Fatal(err)
	}
	checkRows(t, filepath.Join(out, "latest.json"))
	text, err := os.ReadFile(filepath.Join(out, "latest.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"list_name_partial", "get_inflight at 1,000", "200 POSTs by 64 clients", "not measured"} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("latest.md does not say %q", want)
		}
	}
}

// checkRows wants one row for each operation and subject, with all figures
// and nothing else, and one for the view.
func checkRows(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]any
	if err := json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range rows {
		name := row["op"].(string)
		keys := []string{"n", "op", "value"}
		if subject, ok := row["subject"].(string); ok {
			name += " " + subject
			keys = []string{"alloc_b", "cpu_us", "n", "op", "p50_us", "p99_us", "rps", "subject"}
		}
		got = append(got, name)
		for _, key := range keys {
			if figure, ok := row[key].(float64); ok && figure <= 0 && key != "cpu_us" {
				t.Errorf("%s: %s is %v", name, key, figure)
			}
			if row[key] == nil {
				t.Errorf("%s: no %s", name, key)
			}
		}
		if len(row) != len(keys) || row["n"] != 1000.0 {
			t.Errorf("%s: %v", name, row)
		}
	}
	want := []string{"view_bytes_per_pin"}
	for _, op := range []string{
		"list_first", "list_middle", "list_1000", "list_1000_plain", "list_status", "list_name", "list_name_partial",
		"list_meta", "count", "list_cid", "get_pinned", "get_inflight", "post", "delete",
	} {
		for _, subject := range []string{"ours", "upstream", "limit"} {
			want = append(want, op+" "+subject)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("rows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestRecordsAreWhatOursWrites compares a seeded record with that of the same
// pin made through ours: the benchmark would else measure another pinset.
func TestRecordsAreWhatOursWrites(t *testing.T) {
	b, err := openBench(t.Context(), 0, ours)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.close(); err != nil {
			t.Error(err)
		}
	}()
	want := record(1000, 777)
	var origins []string
	for _, origin := range want.Origins {
		origins = append(origins, origin.String())
	}
	body, err := json.Marshal(map[string]any{
		"cid": want.Cid.String(), "name": want.Name, "meta": map[string]string{"album": want.Metadata["album"]}, "origins": origins,
	})
	if err != nil {
		t.Fatal(err)
	}
	r := request{method: http.MethodPost, path: "/pins", body: string(body)}
	if err := b.client.want(t.Context(), http.StatusAccepted, r, b.urls[ours]); err != nil {
		t.Fatal(err)
	}
	got, err := b.peer.Cluster.PinGet(t.Context(), want.Cid)
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range []*api.Pin{&got, &want} {
		created, owner, ok := strings.Cut(rec.Metadata["pinsvc.created"], " ")
		if !ok || len(created) != len("2006-01-02T15:04:05.000Z") || owner != rec.Cid.String() {
			t.Errorf("pinsvc.created is %q", rec.Metadata["pinsvc.created"])
		}
		rec.Metadata["pinsvc.created"] = ""
		rec.Timestamp = want.Timestamp
	}
	gotBytes, err := got.ProtoMarshal()
	if err != nil {
		t.Fatal(err)
	}
	wantBytes, err := want.ProtoMarshal()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(gotBytes, wantBytes) {
		t.Errorf("ours writes\n%+v\nseeded is\n%+v", got, want)
	}
}

func TestPinsAreOfTheSizeThatIsStated(t *testing.T) {
	rec := record(1_000_000, 999_999)
	if text := rec.Cid.String(); len(text) != 59 {
		t.Errorf("the CID %s has %d characters", text, len(text))
	}
	if len(rec.Name) != 20 {
		t.Errorf("the name %q has %d characters", rec.Name, len(rec.Name))
	}
}

// TestLimitWantsTheSameCredentials: without them it would be no limit for
// what has to check them.
func TestLimitWantsTheSameCredentials(t *testing.T) {
	l, err := newLimit(map[string]string{user: password})
	if err != nil {
		t.Fatal(err)
	}
	defer l.shutdown(t.Context())
	l.reply.Store(&reply{status: http.StatusAccepted, contentType: "application/json", body: []byte(`{"a":1}`)})
	for _, tt := range []struct {
		password string
		status   int
		body     string
	}{
		{"wrong", http.StatusUnauthorized, ""},
		{password, http.StatusAccepted, `{"a":1}`},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, l.url()+"/pins", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(user, tt.password)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != tt.status || string(body) != tt.body {
			t.Errorf("password %q: %d %q, want %d %q", tt.password, resp.StatusCode, body, tt.status, tt.body)
		}
	}
}

func TestTargetsCompareTheRightRows(t *testing.T) {
	r := &result{
		sizes: []size{
			{n: 1000, syncing: 20 * time.Microsecond},
			{n: 1_000_000, viewBytesPerPin: 301, starting: timed{wall: 16 * time.Second}, iterating: timed{wall: 10 * time.Second}},
		},
		rows: []row{
			{N: 1000, Op: "list_first", Subject: ours, P50: 40}, {N: 1000, Op: "list_first", Subject: theLimit, P50: 30},
			{N: 1_000_000, Op: "list_first", Subject: ours, P50: 61},
			{N: 1000, Op: "get_inflight", Subject: ours, RPS: 69}, {N: 1000, Op: "get_inflight", Subject: theLimit, RPS: 100},
			{N: 1000, Op: "post", Subject: ours, P50: 119, RPS: 181, Alloc: 60_001}, {N: 1000, Op: "post", Subject: theirs, P50: 100, RPS: 100},
			{N: 1000, Op: "delete", Subject: ours, P50: 121, RPS: 179}, {N: 1000, Op: "delete", Subject: theirs, P50: 100, RPS: 100},
		},
		posts: []*posts{{count: 10}, {count: 10}},
	}
	for i := range tenths {
		r.posts[0].tenthTimes[i], r.posts[1].tenthTimes[i] = 2, 2
	}
	want := map[string]string{
		"list_first: 1,000,000 pins against 1,000":                      "**not met**",
		"list_middle: 1,000,000 pins against 1,000":                     "not measured",
		"list_first at 1,000: against the bare handler":                 "met",
		"get_inflight at 1,000: requests/s against the bare handler":    "**not met**",
		"post at 1,000, alone: against upstream's and one sync":         "met",
		"delete at 1,000, alone: against upstream's and one sync":       "**not met**",
		"post at 1,000, 64 clients: requests/s against upstream":        "met",
		"delete at 1,000, 64 clients: requests/s against upstream":      "**not met**",
		"bytes allocated for a post at 1,000":                           "**not met**",
		"memory of the view at 1,000,000":                               "**not met**",
		"from start to ready at 1,000,000: against reading the state":   "**not met**",
		"POSTs by 64 clients: time of the last tenth against the first": "met",
	}
	for _, target := range r.targets() {
		if verdict, ok := want[target.what]; ok && target.verdict() != verdict {
			t.Errorf("%s is %s (%s), want %s", target.what, target.verdict(), target.got, verdict)
		}
		delete(want, target.what)
	}
	if len(want) > 0 {
		t.Errorf("no targets %v", want)
	}
}

func TestQuantile(t *testing.T) {
	took := make([]time.Duration, 0, 100)
	for i := range 100 {
		took = append(took, time.Duration(100-i))
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 51, 0.99: 100, 1: 100} {
		if got := quantile(took, q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
}
