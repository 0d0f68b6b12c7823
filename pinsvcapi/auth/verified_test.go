package auth

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v4"
)

// A token that was verified is believed again without its signature being checked, and is refused
// all the same when its time is over.
func TestVerifiedTokens_ExpireAllTheSame(t *testing.T) {
	a, err := New(map[string]string{"alice": "secret"})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	a.now = func() time.Time { return now }
	text, err := issue("alice", []byte("secret"), now, now.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	var first Caller
	for i := range 3 {
		caller, ok, err := a.Authenticate("Bearer " + text)
		if err != nil || !ok || caller.User != "alice" || !caller.Expires.Equal(now.Add(time.Minute)) {
			t.Fatalf("call %d: %+v, %v", i, caller, err)
		}
		if i == 0 {
			first = caller
		} else if caller != first {
			t.Errorf("call %d says %+v, the first said %+v", i, caller, first)
		}
	}
	now = now.Add(time.Minute)
	if caller, ok, _ := a.Authenticate("Bearer " + text); ok || caller.User != "" || !strings.Contains(caller.Refusal, "expired") {
		t.Errorf("after its time: %+v", caller)
	}
}

// Only what was verified is remembered, as a whole.
func TestVerifiedTokens_RememberWholeTokens(t *testing.T) {
	a, err := New(map[string]string{"alice": "secret"})
	if err != nil {
		t.Fatal(err)
	}
	other, err := New(map[string]string{"alice": "another"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := IssueToken("alice", "secret", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	bad := []string{text[:len(text)-1], text + "A", text + ".", strings.Replace(text, ".", "..", 1), ""}
	for round := range 2 {
		for _, tampered := range bad {
			if caller, ok, _ := a.Authenticate("Bearer " + tampered); ok {
				t.Errorf("round %d: %q is believed: %+v", round, tampered, caller)
			}
		}
		if _, ok, _ := a.Authenticate("Bearer " + text); !ok {
			t.Errorf("round %d: the token is refused", round)
		}
		if _, ok, _ := other.Authenticate("Bearer " + text); ok {
			t.Errorf("round %d: the token is believed with another password", round)
		}
	}
	if n := len(a.verified.recent); n != 1 || len(other.verified.recent) != 0 {
		t.Errorf("%d tokens are remembered, %d of those that are refused", n, len(other.verified.recent))
	}
}

func TestVerifiedTokens_AreBounded(t *testing.T) {
	var v verifiedTokens
	hashOf := func(i int) tokenHash { return sha256.Sum256(fmt.Append(nil, i)) }
	often := new(jwt.RegisteredClaims)
	v.add("often", hashOf(-1), often)
	for i := range 5 * maxRecentTokens {
		v.add("token", hashOf(i), new(jwt.RegisteredClaims))
		if v.find(hashOf(-1)) != often {
			t.Fatalf("what is asked for again and again is forgotten after %d others", i)
		}
	}
	if n := len(v.recent) + len(v.old); n > 2*maxRecentTokens {
		t.Errorf("%d tokens are remembered", n)
	}
	v.add(strings.Repeat("x", maxTokenBytes+1), hashOf(-2), often)
	if v.find(hashOf(-2)) != nil {
		t.Error("a long token is remembered")
	}
}
