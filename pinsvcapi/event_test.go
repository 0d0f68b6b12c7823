package pinsvcapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"go.uber.org/zap/zapcore"
)

func TestClip_LeavesRunesWhole(t *testing.T) {
	for _, char := range []string{"a", "é", "…", "𝄞"} {
		for lead := range utf8.UTFMax {
			text := strings.Repeat("x", lead) + strings.Repeat(char, maxLogged+1)
			got := clip(text)
			if !utf8.ValidString(got) {
				t.Errorf("%q after %d: cut in half", char, lead)
			}
			kept, ok := strings.CutSuffix(got, "…")
			if !ok || !strings.HasPrefix(text, kept) || len(kept) > maxLogged || len(kept) <= maxLogged-utf8.UTFMax {
				t.Errorf("%q after %d: kept %d bytes", char, lead, len(kept))
			}
		}
	}
	for _, text := range []string{"", strings.Repeat("a", maxLogged)} {
		if got := clip(text); got != text {
			t.Errorf("%d bytes became %d", len(text), len(got))
		}
	}
	// What is no text is cut all the same.
	if got := clip(strings.Repeat("\x80", 2*maxLogged)); len(got) > maxLogged+len("…") {
		t.Errorf("%d bytes", len(got))
	}
}

// events are those of the log file.
func events(t *testing.T, path string) (events []requestEvent, raw string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		var event requestEvent
		if err := json.Unmarshal(line, &event); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		events = append(events, event)
	}
	return events, string(data)
}

func TestObserve_OneEventPerRequestAndNoSecrets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	s := start(t, func(set *setup) { set.cfg.HTTPLogFile = path })
	token := s.token()
	s.do(http.MethodGet, "/pins?name=private", "", bearer(token)).is(200)
	s.do(http.MethodGet, "/pins", "", bearer(token+"x")).is(401)
	s.do(http.MethodGet, "/pins", "", as(testUser, "guessed")).is(401)
	s.do(http.MethodGet, "/pins/x%0ay", "").is(404)
	s.do(http.MethodDelete, "/pins", "").is(405)
	s.do(http.MethodOptions, "/pins", "", header("Origin", origin), header("Access-Control-Request-Method", "GET")).is(204)
	s.backend.before = func(context.Context) error { return errors.New("disk on fire") }
	s.do(http.MethodGet, "/pins", "").is(500)
	s.backend.before = func(context.Context) error { panic("oh no") }
	s.do(http.MethodGet, "/pins", "").is(500)
	s.do(http.MethodGet, "/"+strings.Repeat("x", 3000), "").is(404)
	s.shutdown(context.Background())

	got, raw := events(t, path)
	want := []struct {
		route  string
		status int
		user   string
		err    string
	}{
		{"issue_token", 200, testUser, ""},
		{"list_pins", 200, testUser, ""},
		{"list_pins", 401, "", "the access token is invalid"},
		{"list_pins", 401, "", "password wrong"},
		{"get_pin", 404, testUser, "no pin has"},
		{"other_method", 405, testUser, "takes"},
		{"other_method", 204, "", ""},
		{"list_pins", 500, testUser, "disk on fire"},
		{"list_pins", 500, testUser, "panic: oh no"},
		{"unknown", 404, testUser, "no such path"},
	}
	if len(got) != len(want) {
		t.Fatalf("%d events of %d requests:\n%s", len(got), len(want), raw)
	}
	for i, e := range got {
		w := want[i]
		if e.Route != w.route || e.Status != w.status || e.User != w.user || !strings.Contains(e.Error, w.err) || (w.err == "") != (e.Error == "") {
			t.Errorf("event %d is %+v, want %+v", i, e, w)
		}
		if !isHexID(e.RequestID) || e.Time.IsZero() || e.Remote == "" || e.UserAgent == "" || e.DurationMS < 0 || len(e.Path) > 300 {
			t.Errorf("event %d is %+v", i, e)
		}
	}
	if got[1].TokenID == "" || got[1].Bytes == 0 {
		t.Errorf("event of a token: %+v", got[1])
	}
	for _, secret := range []string{token, "guessed", testPassword, "Basic ", "Bearer ", "private"} {
		if strings.Contains(raw, secret) {
			t.Errorf("the log has %q", secret)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// Upstream logs them at ERROR.
func TestRequestEvent_MistakesOfClientsAreNoErrorsInTheLog(t *testing.T) {
	tests := []struct {
		event requestEvent
		want  zapcore.Level
	}{
		{requestEvent{Status: 200}, zapcore.InfoLevel},
		{requestEvent{Status: 400}, zapcore.InfoLevel},
		{requestEvent{Status: 401}, zapcore.InfoLevel},
		{requestEvent{Status: 404}, zapcore.InfoLevel},
		{requestEvent{Status: 429}, zapcore.InfoLevel},
		{requestEvent{Status: 499, gone: true}, zapcore.InfoLevel},
		{requestEvent{Status: 503}, zapcore.WarnLevel},
		{requestEvent{Status: 500}, zapcore.ErrorLevel},
		{requestEvent{Status: 200, Route: "ready"}, zapcore.DebugLevel},
		{requestEvent{Status: 503, Route: "ready"}, zapcore.DebugLevel},
		{requestEvent{Status: 500, Route: "ready"}, zapcore.ErrorLevel},
	}
	for _, tt := range tests {
		if got := tt.event.level(); got != tt.want {
			t.Errorf("status %d is logged at %s, want %s", tt.event.Status, got, tt.want)
		}
	}
}

func TestObserve_HandlersCompleteTheEvent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	s := start(t, func(set *setup) { set.cfg.HTTPLogFile = path })
	one, two := someCID(1).String(), someCID(2).String()
	source := func(name string) option { return header("X-Request-Source", name) }
	s.do(http.MethodPost, "/pins", body(1, ""), source("webui")).is(202)
	s.do(http.MethodPost, "/pins/"+one, body(2, ""), source("kubo")).is(202)
	s.do(http.MethodGet, "/pins/"+two, "", source("cli")).is(200)
	s.do(http.MethodGet, "/pins?cid="+one+","+two, "", source("web")).is(200)
	s.do(http.MethodGet, "/pins?name=nobody", "", source("Web")).is(200)
	s.do(http.MethodDelete, "/pins/"+two, "").is(202)
	s.do(http.MethodGet, "/pins/junk", "").is(404)
	s.do(http.MethodDelete, "/pins/"+two, "", source(strings.Repeat("x", 1000))).is(404)
	s.shutdown(context.Background())
	want := []struct {
		cids    []string
		results int // -1: none
		source  string
		reason  string
	}{
		{[]string{one}, -1, "webui", ""},
		{[]string{one, two}, -1, "kubo", ""},
		{[]string{two}, -1, "cli", ""},
		{[]string{one, two}, 1, "web", ""},
		{nil, 0, "other", ""},
		{[]string{two}, -1, "", ""},
		{nil, -1, "", "NOT_FOUND"},
		{[]string{two}, -1, "other", "NOT_FOUND"},
	}
	got, raw := events(t, path)
	if len(got) != len(want) {
		t.Fatalf("events:\n%s", raw)
	}
	for i, e := range got {
		results := -1
		if e.Results != nil {
			results = *e.Results
		}
		w := want[i]
		if !slices.Equal(e.CIDs, w.cids) || results != w.results || e.Source != w.source || e.Reason != w.reason {
			t.Errorf("event %d is %+v with %d results, want %+v", i, e, results, w)
		}
	}
	metrics := counts(t, s.metrics)
	for name, want := range map[string]float64{
		"requests_by_source_total webui": 1, "requests_by_source_total other": 2, "request_failures_total NOT_FOUND delete_pin": 1,
	} {
		if metrics[name] != want {
			t.Errorf("%s is %v, want %v", name, metrics[name], want)
		}
	}
}

// What clients send is in errors too.
func TestRequestEvent_ErrorIsClipped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	s := start(t, func(set *setup) { set.cfg.HTTPLogFile = path })
	s.backend.Fail(errors.New(strings.Repeat("é", 100_000)))
	s.do(http.MethodGet, "/pins", "").is(500)
	s.shutdown(context.Background())
	if got, _ := events(t, path); len(got) != 1 || len(got[0].Error) > maxLoggedError+len("…") || !strings.HasSuffix(got[0].Error, "…") {
		t.Errorf("the error has %d bytes", len(got[0].Error))
	}
}

func TestSourceOf_ClosedSet(t *testing.T) {
	for name, want := range map[string]string{"": "", "kubo": "kubo", "helia": "helia", "desktop": "desktop", "KUBO": "other", "x\ny": "other", "none": "other"} {
		if got := sourceOf(http.Header{requestSourceHeader: {name}}); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}

// The daemon's log has the same event as the file.
func TestLogEvent_WritesToTheLogOfTheDaemon(t *testing.T) {
	results := 3
	e := requestEvent{Status: 500, Method: "GET", Route: "list_pins", Remote: "127.0.0.1:1", Client: "192.0.2.1", Results: &results,
		CIDs: []string{"bafy"}, Source: "kubo", Reason: "INTERNAL_SERVER_ERROR", TriedUser: "mallory", Error: "the disk is gone"}
	line := captureLog(t, func() { new(accessLogger).write(&e) })
	for _, want := range []string{"GET list_pins", "192.0.2.1", "127.0.0.1:1", "bafy", `"results":3`, "kubo", "mallory", "the disk is gone"} {
		if !strings.Contains(line, want) {
			t.Errorf("%q does not have %s", line, want)
		}
	}
}

// What a client sends neither forges a line of the log nor turns one round.
func TestClip_ShowsHiddenCharactersEscaped(t *testing.T) {
	for text, want := range map[string]string{
		"a\nb":                  `a\nb`,
		"a\r\x1b[31m":           `a\r\x1b[31m`,
		"\x00":                  `\x00`,
		"user\u202egpj.exe":     `user\u202egpj.exe`,
		"zero\u200bwidth\ufeff": `zero\u200bwidth\ufeff`,
		"line\u2028break":       `line\u2028break`,
		"\xff\xfe":              `\xff\xfe`,
		"żółw 日本 🐢 \"q\" \\":    "żółw 日本 🐢 \"q\" \\",
	} {
		if got := clip(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}
