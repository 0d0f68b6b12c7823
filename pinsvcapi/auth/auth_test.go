package auth

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v4"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func newAuthenticator(t testing.TB) *Authenticator {
	t.Helper()
	a, err := New(map[string]string{"alice": "correct horse", "bob": "pass:word", "Zoë": "ünïcode"})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestNew_EmptyNamesAndPasswordsAreAnError(t *testing.T) {
	tests := []struct {
		credentials map[string]string
		want        string
	}{
		{nil, "no users"},
		{map[string]string{}, "no users"},
		{map[string]string{"": "x"}, "empty name"},
		{map[string]string{"alice": ""}, `"alice" has an empty password`},
		{map[string]string{"alice": "x", "bob": ""}, `"bob" has an empty password`},
	}
	for _, tt := range tests {
		if _, err := New(tt.credentials); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("New(%v) = %v, want an error with %q", tt.credentials, err, tt.want)
		}
	}
}

func TestAuthenticate_BasicCredentials(t *testing.T) {
	a := newAuthenticator(t)
	tests := []struct {
		name, header string
		user         pinsvc.User // empty: refused
	}{
		{"right", basic("alice", "correct horse"), "alice"},
		{"a colon in the password", basic("bob", "pass:word"), "bob"},
		{"Unicode", basic("Zoë", "ünïcode"), "Zoë"},
		{"scheme in another case", strings.Replace(basic("alice", "correct horse"), "Basic", "bASIC", 1), "alice"},
		{"two spaces", strings.Replace(basic("alice", "correct horse"), " ", "  ", 1), "alice"},
		{"wrong password", basic("alice", "correct horsf"), ""},
		{"a prefix of the password", basic("alice", "correct"), ""},
		{"another user's password", basic("alice", "pass:word"), ""},
		{"no password", basic("alice", ""), ""},
		{"unknown user", basic("mallory", "x"), ""},
		{"unknown user without password", basic("mallory", ""), ""},
		{"nobody", basic("", ""), ""},
		{"name in another case", basic("Alice", "correct horse"), ""},
		{"no colon", "Basic " + base64.StdEncoding.EncodeToString([]byte("alice")), ""},
		{"not base64", "Basic %%%", ""},
		{"the scheme alone", "Basic", ""},
		{"nothing", "", ""},
		{"another scheme", "Digest username=alice", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { authenticates(t, a, tt.header, tt.user) })
	}
}

// authenticates checks that the header proves to be the user, or with an empty
// user that it is refused, saying why.
func authenticates(t *testing.T, a *Authenticator, header string, user pinsvc.User) {
	t.Helper()
	caller, ok, err := a.Authenticate(header)
	if err != nil {
		t.Fatalf("the machinery broke: %v", err)
	}
	if ok != (user != "") || caller.User != user {
		t.Errorf("Authenticate(%q) = %+v, %t, want user %q", header, caller, ok, user)
	}
	if ok == (caller.Refusal != "") {
		t.Errorf("Authenticate(%q) = %t with refusal %q", header, ok, caller.Refusal)
	}
}

// An unknown user must cost the same work as a wrong password: the password is
// compared with a decoy that nobody can know.
func TestKey_UnknownUsersGetARandomDecoy(t *testing.T) {
	a, b := newAuthenticator(t), newAuthenticator(t)
	for _, user := range []pinsvc.User{"mallory", ""} {
		x, known := a.key(user)
		y, _ := b.key(user)
		if known || len(x) != 32 || string(x) == string(y) || string(x) == string(make([]byte, 32)) {
			t.Errorf("key(%q) = %x, %t and %x, want random decoys", user, x, known, y)
		}
	}
}

// The name that was tried is for the log of failed logins, and proves nothing.
func TestAuthenticate_ClaimedNames(t *testing.T) {
	a := newAuthenticator(t)
	expired := signed(t, jwt.SigningMethodHS256, map[string]any{"iss": "alice", "exp": 1}, []byte("correct horse"), nil)
	forged := signed(t, jwt.SigningMethodHS256, map[string]any{"iss": "root"}, []byte("x"), nil)
	for header, want := range map[string]string{
		basic("alice", "correct horse"): "alice", basic("alice", "x"): "alice", basic("mallory", "x"): "mallory",
		"Bearer " + expired: "alice", "Bearer " + forged: "root", "Bearer x": "", "Basic x": "", "Digest x": "", "": "",
	} {
		caller, ok, err := a.Authenticate(header)
		if err != nil || caller.Claimed != want {
			t.Errorf("%q claims to be %q, %v, want %q", header, caller.Claimed, err, want)
		}
		if !ok && caller.User != "" {
			t.Errorf("%q is refused as %q", header, caller.User)
		}
	}
}
