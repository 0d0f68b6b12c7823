// Package auth finds out who calls: it reads the Authorization header of a
// request and checks it against the configured users and their passwords,
// either directly (HTTP Basic) or as the key of a signed token (Bearer). It
// does not decide what a user may see or do.
package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Caller is the result of checking an Authorization header.
type Caller struct {
	// User is proven; empty when the caller was refused.
	User pinsvc.User
	// Claimed is the user name in the credentials, proven or not: for the log
	// of failed logins. Empty if the credentials have none.
	Claimed string
	// TokenID is the jti of the token, empty without one.
	TokenID string
	// Expires is when the token expires, zero when it does not.
	Expires time.Time
	// Refusal is the reason why the caller was refused, in a few words, and
	// empty otherwise. It holds nothing secret and may be sent to the caller.
	Refusal string
	// TokenRefused: the refused credentials are a token.
	TokenRefused bool
}

// Authenticator checks Authorization headers. Its users do not change, so other users
// need another one, and it may be used by many goroutines at once.
type Authenticator struct {
	passwords map[pinsvc.User][]byte
	// decoy replaces the password of users that do not exist, so that an
	// unknown user takes as long as a wrong password. It is random, so nobody
	// can know it.
	decoy []byte
	// blind is the key under which two secrets are hashed before they are
	// compared: the comparison then takes the same time for all lengths.
	blind    []byte
	now      func() time.Time
	verified verifiedTokens
}

// New makes an Authenticator of user names and their passwords, the
// configuration's basic_auth_credentials. An empty name or password is an
// error: anybody could sign a token with an empty key.
func New(credentials map[string]string) (*Authenticator, error) {
	a := &Authenticator{
		passwords: make(map[pinsvc.User][]byte, len(credentials)),
		decoy:     make([]byte, 32),
		blind:     make([]byte, 32),
		now:       time.Now,
	}
	if len(credentials) == 0 {
		return nil, errors.New("no users with passwords")
	}
	for user, password := range credentials {
		switch {
		case user == "":
			return nil, errors.New("a user has an empty name")
		case password == "":
			return nil, fmt.Errorf("user %q has an empty password", user)
		}
		a.passwords[pinsvc.User(user)] = []byte(password)
	}
	for _, secret := range [][]byte{a.decoy, a.blind} {
		if _, err := rand.Read(secret); err != nil {
			return nil, fmt.Errorf("random bytes for the authenticator: %w", err)
		}
	}
	return a, nil
}

// Authenticate checks the value of an Authorization header. It returns true and
// the user, or false and the reason; an error is a technical failure.
func (a *Authenticator) Authenticate(authorization string) (Caller, bool, error) {
	scheme, value, _ := strings.Cut(authorization, " ")
	value = strings.TrimSpace(value)
	var caller Caller
	switch strings.ToLower(scheme) {
	case "":
		caller.Refusal = "no credentials were sent"
	case "basic":
		caller = a.basic(value)
	case "bearer":
		caller = a.bearer(value)
		caller.TokenRefused = caller.Refusal != ""
	default:
		caller.Refusal = "the authorization scheme is neither Basic nor Bearer"
	}
	return caller, caller.Refusal == "", nil
}

// basic checks the value of the Basic scheme: base64 of user:password.
func (a *Authenticator) basic(value string) Caller {
	text, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return Caller{Refusal: "the basic credentials are malformed"}
	}
	name, password, ok := strings.Cut(string(text), ":")
	if !ok {
		return Caller{Refusal: "the basic credentials are malformed"}
	}
	user := pinsvc.User(name)
	key, known := a.key(user)
	if !a.equal([]byte(password), key) || !known {
		return Caller{Claimed: name, Refusal: "the user is unknown or the password wrong"}
	}
	return Caller{User: user, Claimed: name}
}

// key is the password of the user, or the decoy and false.
func (a *Authenticator) key(user pinsvc.User) ([]byte, bool) {
	if password, ok := a.passwords[user]; ok && len(password) > 0 {
		return password, true
	}
	return a.decoy, false
}

// equal compares two secrets in a time that does not depend on them.
func (a *Authenticator) equal(x, y []byte) bool {
	return subtle.ConstantTimeCompare(a.digest(x), a.digest(y)) == 1
}

func (a *Authenticator) digest(secret []byte) []byte {
	mac := hmac.New(sha256.New, a.blind)
	mac.Write(secret)
	return mac.Sum(nil)
}
