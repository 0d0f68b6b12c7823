package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v4"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// clockSkew is how far in the future a token may have been issued: peers that
// share credentials need not have the same clock.
const clockSkew = time.Minute

// IssueToken makes an access token for the user: a JSON Web Token with the
// claims iss, iat and jti, signed with the password (HS256). It does not expire:
// it is valid for as long as the password is. Every peer that has the same
// password for the user accepts it, ipfs-cluster 1.1.x included.
func IssueToken(user, password string, now time.Time) (string, error) {
	return issue(user, []byte(password), now, time.Time{})
}

// Issue makes an access token for a caller that Authenticate has accepted. A
// caller with a token that expires gets one that expires at the same time.
func (a *Authenticator) Issue(caller Caller) (string, error) {
	key, known := a.key(caller.User)
	if !known {
		return "", fmt.Errorf("user %q is not configured", caller.User)
	}
	return issue(string(caller.User), key, a.now(), caller.Expires)
}

func issue(user string, key []byte, now, expires time.Time) (string, error) {
	switch {
	case user == "":
		return "", errors.New("a token needs a user")
	case len(key) == 0:
		return "", fmt.Errorf("user %q has an empty password", user)
	}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return "", fmt.Errorf("a random token ID: %w", err)
	}
	claims := jwt.RegisteredClaims{
		Issuer:   user,
		IssuedAt: jwt.NewNumericDate(now),
		ID:       hex.EncodeToString(id),
	}
	if !expires.IsZero() {
		claims.ExpiresAt = jwt.NewNumericDate(expires)
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(key)
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return token, nil
}

// bearer checks a token. Claims are used, and their faults reported, only after
// the signature was verified; only Claimed is taken from a token that is not verified.
func (a *Authenticator) bearer(text string) Caller {
	if text == "" { // As Kubo sends it for an empty key.
		return Caller{Refusal: "the access token is empty"}
	}
	hash := tokenHash(sha256.Sum256([]byte(text)))
	claims := a.verified.find(hash)
	if claims == nil {
		var refused Caller
		if claims, refused = a.verify(text); refused.Refusal != "" {
			return refused
		}
		a.verified.add(text, hash, claims)
	}
	if refusal := checkTimes(claims, a.now()); refusal != "" {
		return Caller{Claimed: claims.Issuer, Refusal: refusal}
	}
	caller := Caller{User: pinsvc.User(claims.Issuer), Claimed: claims.Issuer, TokenID: claims.ID}
	if claims.ExpiresAt != nil {
		caller.Expires = claims.ExpiresAt.Time
	}
	return caller
}

// verify returns the claims of a token with a signature of its user, or why it is refused. It does
// not look at the times in the token.
func (a *Authenticator) verify(text string) (claims *jwt.RegisteredClaims, refused Caller) {
	// The claims are checked later, against this Authenticator's clock.
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256", "HS384", "HS512"}), jwt.WithoutClaimsValidation())
	claims = new(jwt.RegisteredClaims)
	known := false
	token, err := parser.ParseWithClaims(text, claims, func(*jwt.Token) (any, error) {
		var key []byte
		key, known = a.key(pinsvc.User(claims.Issuer))
		return key, nil
	})
	if err != nil || !known || !token.Valid {
		return nil, Caller{Claimed: claims.Issuer, Refusal: "the access token is invalid"}
	}
	// RFC 7515: a token with a critical extension that is not supported must
	// be refused. None is supported.
	if _, critical := token.Header["crit"]; critical {
		return nil, Caller{Claimed: claims.Issuer, Refusal: "the access token needs an extension that is not supported"}
	}
	return claims, Caller{}
}

// checkTimes returns the reason to refuse the times of a token, or "".
func checkTimes(claims *jwt.RegisteredClaims, now time.Time) (refusal string) {
	switch {
	case !claims.VerifyExpiresAt(now, false):
		return "the access token has expired"
	case !claims.VerifyNotBefore(now, false):
		return "the access token is not valid yet"
	case !claims.VerifyIssuedAt(now.Add(clockSkew), false):
		return "the access token was issued in the future"
	default:
		return ""
	}
}
