package auth

import (
	"crypto/sha256"
	"sync"

	"github.com/golang-jwt/jwt/v4"
)

// verifiedTokens remembers the tokens whose signature was verified, by their hash: a client sends
// the same one with each request, and reading it takes longer than reading a small body. Whatever
// changes with time, which is whether it has expired, is not remembered. The zero value is ready for
// use; the users of an Authenticator do not change.
type verifiedTokens struct {
	mu sync.Mutex
	// recent gets all that is asked for. When it is full it becomes old, and what was old and
	// not asked for again is forgotten.
	recent, old map[tokenHash]*jwt.RegisteredClaims
}

// tokenHash is what a token is known by, so that no secret is kept and none is compared in a time
// that depends on it.
type tokenHash [sha256.Size]byte

const (
	// maxRecentTokens bounds each of the two maps.
	maxRecentTokens = 1024
	// maxTokenBytes is the length of a token that is remembered; its claims are kept.
	maxTokenBytes = 4096
)

// find returns the claims of a token, which must not be changed, or nil.
func (v *verifiedTokens) find(hash tokenHash) *jwt.RegisteredClaims {
	v.mu.Lock()
	defer v.mu.Unlock()
	claims, ok := v.recent[hash]
	if !ok {
		if claims, ok = v.old[hash]; ok {
			v.keep(hash, claims)
		}
	}
	return claims
}

// add remembers a token.
func (v *verifiedTokens) add(text string, hash tokenHash, claims *jwt.RegisteredClaims) {
	if len(text) > maxTokenBytes {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.keep(hash, claims)
}

// keep needs the lock.
func (v *verifiedTokens) keep(hash tokenHash, claims *jwt.RegisteredClaims) {
	if v.recent == nil || len(v.recent) >= maxRecentTokens {
		v.recent, v.old = make(map[tokenHash]*jwt.RegisteredClaims), v.recent
	}
	v.recent[hash] = claims
}
