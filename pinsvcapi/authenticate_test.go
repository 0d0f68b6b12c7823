package pinsvcapi

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v4"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/auth"
)

// oldToken is one that ipfs-cluster 1.1.x issues.
func oldToken(t *testing.T, user, key string) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{Issuer: user}).SignedString([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestAuthenticate_BasicAndBearerOnEveryRoute(t *testing.T) {
	s := start(t)
	own := s.token()
	issued, err := auth.IssueToken(testUser, testPassword, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		set  option
		ok   bool
	}{
		{"password", as(testUser, testPassword), true},
		{"token of the service", bearer(own), true},
		{"token of the program", bearer(issued), true},
		{"token of ipfs-cluster 1.1.x", bearer(oldToken(t, testUser, testPassword)), true},
		{"nothing", anonymous, false},
		{"wrong password", as(testUser, "x"), false},
		{"no password", as(testUser, ""), false},
		{"unknown user", as("mallory", "x"), false},
		{"token of another key", bearer(oldToken(t, testUser, "x")), false},
		{"token of the empty key", bearer(oldToken(t, testUser, "")), false},
		{"token of an unknown user", bearer(oldToken(t, "mallory", testPassword)), false},
		{"token of nobody", bearer(oldToken(t, "", "")), false},
		{"no token", bearer(""), false},
		{"garbage", bearer("garbage"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, e := range endpoints() {
				path := strings.ReplaceAll(e.path, "{requestid}", someCID(1).String())
				text := ""
				if strings.HasPrefix(path, "/pins") && e.method == http.MethodPost {
					text = body(1, "")
				}
				rep := s.do(e.method, path, text, tt.set)
				if refused := rep.status == http.StatusUnauthorized; refused == (tt.ok || !e.policy.credentials) {
					t.Errorf("%s %s: %d", e.method, path, rep.status)
				}
			}
		})
	}
}

func TestChallenges_SayHowToLogIn(t *testing.T) {
	s := start(t)
	tests := []struct {
		set     option
		details string
		bearer  string
	}{
		{anonymous, "no credentials", `Bearer realm="IPFS Pinning Service"`},
		{as(testUser, "x"), "password wrong", `Bearer realm="IPFS Pinning Service"`},
		{bearer(""), "token is empty", `Bearer realm="IPFS Pinning Service", error="invalid_token", error_description="the access token is empty"`},
		{bearer("x"), "token is invalid", `Bearer realm="IPFS Pinning Service", error="invalid_token", error_description="the access token is invalid"`},
	}
	for _, tt := range tests {
		for _, path := range []string{"/pins", "/unknown"} {
			rep := s.do(http.MethodGet, path, "", tt.set)
			rep.fails(401, "UNAUTHORIZED", tt.details)
			want := []string{tt.bearer, `Basic realm="IPFS Pinning Service", charset="UTF-8"`}
			if got := rep.header.Values("WWW-Authenticate"); !slices.Equal(got, want) {
				t.Errorf("WWW-Authenticate %q, want %q", got, want)
			}
		}
	}
}

func TestAuthenticate_ExpiredTokensAre401(t *testing.T) {
	s := start(t)
	for _, claims := range []jwt.RegisteredClaims{
		{Issuer: testUser, ExpiresAt: jwt.NewNumericDate(time.Now().Add(-time.Minute))},
		{Issuer: testUser, NotBefore: jwt.NewNumericDate(time.Now().Add(time.Hour))},
	} {
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(testPassword))
		if err != nil {
			t.Fatal(err)
		}
		s.do(http.MethodGet, "/pins", "", bearer(token)).fails(401, "UNAUTHORIZED", "the access token")
	}
}

func TestAuthenticate_WithoutUsersNobodyLogsIn(t *testing.T) {
	s := start(t, func(set *setup) { set.cfg.BasicAuthCredentials = nil })
	for _, set := range []option{anonymous, as("x", "y"), bearer("garbage")} {
		s.do(http.MethodGet, "/pins", "", set).is(http.StatusOK)
		s.do(http.MethodPost, "/pins", body(1, ""), set).is(http.StatusAccepted)
	}
	s.do(http.MethodPost, "/token", "").fails(403, "FORBIDDEN", "basic_auth_credentials")
}

func TestNewAPI_BadCredentialsInTheConfigurationAreAnError(t *testing.T) {
	for name, credentials := range map[string]map[string]string{
		"no users":       {},
		"empty password": {testUser: ""},
		"empty name":     {"": "x"},
	} {
		cfg := testConfig(t)
		cfg.BasicAuthCredentials = credentials
		if _, err := NewAPI(t.Context(), cfg, Options{}); err == nil || !strings.Contains(err.Error(), "basic_auth_credentials") {
			t.Errorf("%s: NewAPI says %v", name, err)
		}
	}
}

func TestNewAPI_NoUsersOnANetworkIsAnError(t *testing.T) {
	cfg := testConfig(t)
	cfg.BasicAuthCredentials = nil
	cfg.HTTPListenAddr = addrs(t, "/ip4/0.0.0.0/tcp/0")
	if _, err := NewAPI(t.Context(), cfg, Options{}); err == nil || !strings.Contains(err.Error(), "allow_unauthenticated") {
		t.Errorf("NewAPI says %v", err)
	}
}
