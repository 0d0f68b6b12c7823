package pinsvcapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// failLogins makes as many logins fail as an address may.
func (s *service) failLogins(options ...option) {
	s.t.Helper()
	for range loginBurst {
		s.do(http.MethodGet, "/pins", "", append(options, as("mallory", "x"))...).is(http.StatusUnauthorized)
	}
}

func TestLoginLimiter_ManyFailuresAre429(t *testing.T) {
	s := start(t, func(set *setup) { set.cfg.TrustedProxies = prefixes("127.0.0.1/32") })
	from := func(client string) option { return header("X-Forwarded-For", client) }
	s.do(http.MethodGet, "/pins", "", from("192.0.2.1"), as("bob", "hunter2")).is(http.StatusOK)
	s.failLogins(from("192.0.2.1"))
	for name, set := range map[string]option{
		"a wrong password": as(testUser, "y"), "a wrong token": bearer("z"), "a right guess": as(testUser, testPassword),
	} {
		rep := s.do(http.MethodGet, "/pins", "", set, from("192.0.2.1"))
		rep.fails(429, "TOO_MANY_REQUESTS", "logins")
		if wait, err := strconv.Atoi(rep.header.Get("Retry-After")); err != nil || wait < 1 || wait > int(loginInterval.Seconds()) {
			t.Errorf("%s: Retry-After %q", name, rep.header.Get("Retry-After"))
		}
	}
	// Nobody else is affected: neither other addresses, nor credentials that
	// were accepted before, nor requests that try none.
	s.do(http.MethodGet, "/pins", "", from("192.0.2.2")).is(http.StatusOK)
	s.do(http.MethodGet, "/pins", "", from("192.0.2.1"), as("bob", "hunter2")).is(http.StatusOK)
	s.do(http.MethodGet, "/pins", "", from("192.0.2.1"), anonymous).is(http.StatusUnauthorized)
	s.do(http.MethodGet, "/health", "", from("192.0.2.1"), as("mallory", "x")).is(http.StatusOK)
	if got := counts(t, s.metrics)["failed_logins_total"]; got != loginBurst {
		t.Errorf("%v failed logins, want %d", got, loginBurst)
	}
}

// Its holder did log in, if not with the token yet.
func TestLoginLimiter_TokenThatWasIssuedHereIsExempt(t *testing.T) {
	s := start(t)
	var issued struct{ Token string }
	rep := s.do(http.MethodPost, "/token", "").is(http.StatusOK)
	if err := json.Unmarshal([]byte(rep.body), &issued); err != nil {
		t.Fatal(err)
	}
	s.failLogins()
	s.do(http.MethodGet, "/pins", "", bearer(issued.Token)).is(http.StatusOK)
}

// A proxy that passes the header on lets its clients write any address.
func TestLoginLimiter_ForgedAddressesHaveALimitTogether(t *testing.T) {
	s := start(t)
	s.do(http.MethodGet, "/pins", "", as("bob", "hunter2")).is(http.StatusOK)
	forged := func(i int) option { return header("X-Forwarded-For", fmt.Sprintf("198.51.%d.%d", i/256, i%256)) }
	tried := 0
	for tried < 2000 && s.do(http.MethodGet, "/pins", "", forged(tried), as("mallory", "x")).status == http.StatusUnauthorized {
		tried++
	}
	// It gets one more each interval, and the tries took a moment.
	if tried < loginSharedBurst || tried == 2000 {
		t.Errorf("%d tries of passwords", tried)
	}
	s.do(http.MethodGet, "/pins", "", forged(tried), as("bob", "hunter2")).is(http.StatusOK)
	// One that is not behind the proxy is not affected.
	s.do(http.MethodGet, "/pins", "").is(http.StatusOK)
}

func TestLoginLimiter_MissingCredentialsAreNoFailure(t *testing.T) {
	s := start(t)
	for range loginBurst + 10 {
		s.do(http.MethodGet, "/pins", "", anonymous).is(http.StatusUnauthorized)
	}
	s.do(http.MethodGet, "/pins", "").is(http.StatusOK)
}

func TestLoginFailed_LogsTheNameThatWasTried(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	s := start(t, func(set *setup) { set.cfg.HTTPLogFile = path })
	s.do(http.MethodGet, "/pins", "", as("root", "guess1")).is(401)
	s.do(http.MethodGet, "/pins", "", as(strings.Repeat("a", 2000), "guess2")).is(401)
	s.do(http.MethodGet, "/pins", "", bearer(oldToken(t, "eve", "guess3"))).is(401)
	s.do(http.MethodGet, "/pins", "", bearer("guess4")).is(401)
	token := oldToken(t, testUser, testPassword)
	s.do(http.MethodGet, "/pins", "", as(token, "")).is(401)
	s.do(http.MethodGet, "/pins", "").is(200)
	s.shutdown(context.Background())
	got, raw := events(t, path)
	if len(got) != 6 || got[0].TriedUser != "root" || len(got[1].TriedUser) > maxLogged+len("…") || got[1].TriedUser == "" ||
		got[2].TriedUser != "eve" || got[3].TriedUser != "" || got[4].TriedUser != "(a token)" || got[5].TriedUser != "" || got[0].User != "" {
		t.Errorf("events:\n%s", raw)
	}
	if strings.Contains(raw, "guess") || strings.Contains(raw, token) {
		t.Errorf("a password is in the log:\n%s", raw)
	}
}
