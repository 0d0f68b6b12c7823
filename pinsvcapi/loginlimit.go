package pinsvcapi

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/ratelimit"
)

// Limits of failed logins. They are generous: Kubo, whose MFS policy repeats
// a refused request every 30 seconds, never meets them.
const (
	loginBurst       = 100             // failed logins at once, for each client address
	loginSharedBurst = 10 * loginBurst // and for all behind a proxy that nobody named
	loginInterval    = 5 * time.Second // and one more each
	loginAddresses   = 10_000          // whose failures are remembered
	loginAccepted    = 10_000          // credentials that are exempt
)

// loginLimiter limits failed logins for each client address, so that nobody
// can try passwords at the speed of the machine. Credentials that were accepted
// or issued since the start are exempt: clients behind the same address go on
// working while somebody there tries passwords.
type loginLimiter struct {
	failures, shared *ratelimit.Limiter // by the keys of limitKeys

	seed maphash.Seed

	mu sync.Mutex // guards accepted
	// accepted holds keyed hashes of Authorization headers. An equal hash of
	// other credentials would only permit one more try.
	accepted *simplelru.LRU[uint64, struct{}]
}

func newLoginLimiter() (*loginLimiter, error) {
	failures, err := ratelimit.New(loginInterval, loginBurst, loginAddresses)
	if err != nil {
		return nil, err
	}
	shared, err := ratelimit.New(loginInterval, loginSharedBurst, loginAddresses)
	if err != nil {
		return nil, err
	}
	accepted, err := simplelru.NewLRU[uint64, struct{}](loginAccepted, nil)
	if err != nil {
		return nil, err
	}
	return &loginLimiter{failures: failures, shared: shared, seed: maphash.MakeSeed(), accepted: accepted}, nil
}

// check refuses the credentials, without checking them, when too many logins from
// this client have failed.
func (l *loginLimiter) check(keys limitKeys, authorization string) error {
	if authorization == "" {
		return nil
	}
	wait := l.failures.Wait(keys.client)
	if keys.shared != "" {
		wait = max(wait, l.shared.Wait(keys.shared))
	}
	if wait == 0 || l.wasAccepted(authorization) {
		return nil
	}
	return &pinsvc.Error{
		Kind:       pinsvc.KindTooManyRequests,
		Details:    "too many logins from this address have failed; check the user, the password or the token, and try again later",
		RetryAfter: wait,
	}
}

func (l *loginLimiter) failed(keys limitKeys) {
	l.failures.Take(keys.client)
	if keys.shared != "" {
		l.shared.Take(keys.shared)
	}
}

func (l *loginLimiter) succeeded(authorization string) {
	hash := maphash.String(l.seed, authorization)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted.Add(hash, struct{}{})
}

func (l *loginLimiter) wasAccepted(authorization string) bool {
	hash := maphash.String(l.seed, authorization)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accepted.Contains(hash)
}
