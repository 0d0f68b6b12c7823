package auth

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v4"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// now is the time at which the tests take place.
func now() time.Time { return time.Date(2026, 1, 2, 15, 4, 5, 600_000_000, time.UTC) }

func at(a *Authenticator) *Authenticator {
	a.now = now
	return a
}

func signed(t testing.TB, method jwt.SigningMethod, claims map[string]any, key any, header map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	maps.Copy(token.Header, header)
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAuthenticate_BearerTokens(t *testing.T) {
	a := at(newAuthenticator(t))
	key := []byte("correct horse")
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	unix := func(d time.Duration) int64 { return now().Add(d).Unix() }
	hs := func(claims map[string]any) string { return signed(t, jwt.SigningMethodHS256, claims, key, nil) }
	alice := map[string]any{"iss": "alice"}
	tests := []struct {
		name, token string
		user        pinsvc.User // empty: refused
	}{
		{"as ipfs-cluster 1.1.x issues them", hs(alice), "alice"},
		{"HS384", signed(t, jwt.SigningMethodHS384, alice, key, nil), "alice"},
		{"HS512", signed(t, jwt.SigningMethodHS512, alice, key, nil), "alice"},
		{"ends later", hs(map[string]any{"iss": "alice", "exp": unix(2 * time.Second)}), "alice"},
		{"has ended", hs(map[string]any{"iss": "alice", "exp": unix(-time.Second)}), ""},
		{"ended at the epoch", hs(map[string]any{"iss": "alice", "exp": 0}), ""},
		{"an end that is no number", hs(map[string]any{"iss": "alice", "exp": "never"}), ""},
		{"has begun", hs(map[string]any{"iss": "alice", "nbf": unix(-time.Second)}), "alice"},
		{"has not begun", hs(map[string]any{"iss": "alice", "nbf": unix(2 * time.Second)}), ""},
		{"issued now", hs(map[string]any{"iss": "alice", "iat": unix(0)}), "alice"},
		{"issued by a clock that is ahead", hs(map[string]any{"iss": "alice", "iat": unix(30 * time.Second)}), "alice"},
		{"issued in an hour", hs(map[string]any{"iss": "alice", "iat": unix(time.Hour)}), ""},
		{"other claims", hs(map[string]any{"iss": "alice", "aud": "x", "sub": "y", "z": []int{1}}), "alice"},
		{"no issuer", hs(map[string]any{"sub": "alice"}), ""},
		{"unknown issuer", hs(map[string]any{"iss": "mallory"}), ""},
		{"another user's key", signed(t, jwt.SigningMethodHS256, map[string]any{"iss": "bob"}, key, nil), ""},
		{"the empty key", signed(t, jwt.SigningMethodHS256, alice, []byte{}, nil), ""},
		{"the empty key of an unknown user", signed(t, jwt.SigningMethodHS256, map[string]any{"iss": "mallory"}, []byte{}, nil), ""},
		{"the empty key of nobody", signed(t, jwt.SigningMethodHS256, map[string]any{"iss": ""}, []byte{}, nil), ""},
		{"alg none", signed(t, jwt.SigningMethodNone, alice, jwt.UnsafeAllowNoneSignatureType, nil), ""},
		{"alg None", unsigned(`{"alg":"None"}`, `{"iss":"alice"}`), ""},
		{"no alg", unsigned(`{}`, `{"iss":"alice"}`), ""},
		{"RS256", signed(t, jwt.SigningMethodRS256, alice, rsaKey, nil), ""},
		{"a critical extension", signed(t, jwt.SigningMethodHS256, alice, key, map[string]any{"crit": []string{"exp"}}), ""},
		{"null claims", unsigned(`{"alg":"HS256"}`, `null`), ""},
		{"a signature cut short", hs(alice)[:len(hs(alice))-4], ""},
		{"two segments", strings.Join(strings.Split(hs(alice), ".")[:2], "."), ""},
		{"four segments", hs(alice) + ".x", ""},
		{"no token", "", ""},
		{"no JSON", "a.b.c", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { authenticates(t, a, "Bearer "+tt.token, tt.user) })
	}
}

func unsigned(header, claims string) string {
	enc := base64.RawURLEncoding
	return enc.EncodeToString([]byte(header)) + "." + enc.EncodeToString([]byte(claims)) + "."
}

// A user without a password cannot be configured; were there one all the same,
// the empty key would not let anybody in.
func TestAuthenticate_EmptyKeyIsNeverValid(t *testing.T) {
	a := at(newAuthenticator(t))
	a.passwords["eve"] = nil
	authenticates(t, a, "Bearer "+signed(t, jwt.SigningMethodHS256, map[string]any{"iss": "eve"}, []byte{}, nil), "")
	authenticates(t, a, basic("eve", ""), "")
}

func TestIssue_Tokens(t *testing.T) {
	a := at(newAuthenticator(t))
	first, err := IssueToken("alice", "correct horse", now())
	if err != nil {
		t.Fatal(err)
	}
	second, err := a.Issue(Caller{User: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	if first == second {
		t.Error("two tokens of one user are the same")
	}
	for _, token := range []string{first, second} {
		authenticates(t, a, "Bearer "+token, "alice")
		claims := jwt.MapClaims{}
		parsed, _, err := jwt.NewParser().ParseUnverified(token, claims)
		if err != nil {
			t.Fatal(err)
		}
		if keys := slices.Sorted(maps.Keys(claims)); !slices.Equal(keys, []string{"iat", "iss", "jti"}) || parsed.Method.Alg() != "HS256" {
			t.Errorf("claims %v signed with %s", keys, parsed.Method.Alg())
		}
		if claims["iss"] != "alice" || claims["iat"] != float64(now().Unix()) || len(fmt.Sprint(claims["jti"])) != 32 {
			t.Errorf("claims %v", claims)
		}
		if caller, _, _ := a.Authenticate("Bearer " + token); caller.TokenID != claims["jti"] || !caller.Expires.IsZero() {
			t.Errorf("caller %+v, want token ID %s and no end", caller, claims["jti"])
		}
	}
}

func TestIssue_NeedsAUserAndAPassword(t *testing.T) {
	a := newAuthenticator(t)
	for _, issue := range []func() (string, error){
		func() (string, error) { return IssueToken("", "x", now()) },
		func() (string, error) { return IssueToken("alice", "", now()) },
		func() (string, error) { return a.Issue(Caller{User: "mallory"}) },
		func() (string, error) { return a.Issue(Caller{}) },
	} {
		if token, err := issue(); err == nil {
			t.Errorf("issued %s", token)
		}
	}
}

func TestIssue_TokenMadeWithATokenDoesNotOutliveIt(t *testing.T) {
	a := at(newAuthenticator(t))
	end := now().Add(time.Hour).Truncate(time.Second)
	short := signed(t, jwt.SigningMethodHS256, map[string]any{"iss": "alice", "exp": end.Unix()}, []byte("correct horse"), nil)
	caller, ok, _ := a.Authenticate("Bearer " + short)
	if !ok || !caller.Expires.Equal(end) {
		t.Fatalf("%+v, %t", caller, ok)
	}
	minted, err := a.Issue(caller)
	if err != nil {
		t.Fatal(err)
	}
	authenticates(t, a, "Bearer "+minted, "alice")
	a.now = func() time.Time { return end }
	authenticates(t, a, "Bearer "+minted, "")
}

func FuzzParseToken(f *testing.F) {
	a, err := New(map[string]string{"alice": "correct horse"})
	if err != nil {
		f.Fatal(err)
	}
	a.now = now
	good, err := IssueToken("alice", "correct horse", now())
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		good, good + ".", good[1:], strings.ToUpper(good), "..", "", "a.b.c",
		signed(f, jwt.SigningMethodHS256, map[string]any{"iss": "alice", "exp": 1e300}, []byte("correct horse"), nil),
		signed(f, jwt.SigningMethodHS256, map[string]any{"iss": "alice"}, []byte{}, nil),
		unsigned(`{"alg":"none"}`, `{"iss":"alice"}`), unsigned(`{"alg":"HS256"}`, `null`), unsigned(`null`, `[]`),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		caller, ok, err := a.Authenticate("Bearer " + text)
		if err != nil {
			t.Fatalf("the machinery broke: %v", err)
		}
		if !ok {
			if caller.User != "" || caller.Refusal == "" {
				t.Fatalf("refused with %+v", caller)
			}
			return
		}
		// Nothing gets in that was not signed with the password.
		if _, err := jwt.NewParser(jwt.WithoutClaimsValidation()).Parse(strings.TrimSpace(text), func(token *jwt.Token) (any, error) {
			if _, hmac := token.Method.(*jwt.SigningMethodHMAC); !hmac {
				return nil, fmt.Errorf("let in with %s", token.Method.Alg())
			}
			return []byte("correct horse"), nil
		}); err != nil {
			t.Fatalf("%q was let in as %+v: %v", text, caller, err)
		}
	})
}
