package orphans

import (
	"context"
	"time"

	"github.com/ipfs/go-cid"
)

const (
	// idleDelay is how long the checks sleep when there is nothing to check.
	idleDelay = time.Hour
	// batchDelay is how long suspects are collected, so that the removal of many pins
	// does not walk over all of them for each.
	batchDelay = 50 * time.Millisecond
)

// checkDue looks at the suspects whose time has come and returns when to come back (U40,
// U41 in docs/upstream-faults.md). It ends early when the node does not respond, and then leaves it alone for a while.
func (s *Scanner) checkDue(ctx context.Context) time.Duration {
	now := s.now()
	if wait := s.awayUntil.Sub(now); wait > 0 {
		return wait
	}
	told := 0
	for _, key := range s.due(now) {
		fresh, err := s.check(ctx, key)
		if err != nil {
			logger.Debugf("whether the IPFS node keeps %s: %s", key, err)
			s.awayUntil = s.now().Add(awayDelay)
			return awayDelay
		}
		if fresh {
			if told++; told == 1 {
				logger.Warnf("the IPFS node has a recursive pin that the cluster does not have, %s: %s", key, s.fate())
			}
		}
	}
	if told > 1 {
		logger.Warnf("the IPFS node has %d more recursive pins that the cluster does not have", told-1)
	}
	return s.nextDue()
}

// due are the suspects whose time has come.
func (s *Scanner) due(now time.Time) (keys []cid.Cid) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, suspect := range s.suspects {
		if !suspect.due.After(now) {
			keys = append(keys, key)
		}
	}
	return keys
}

// nextDue is the time until the next suspect is due.
func (s *Scanner) nextDue() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, next := s.now(), idleDelay
	for _, suspect := range s.suspects {
		next = min(next, suspect.due.Sub(now))
	}
	return max(next, batchDelay)
}

// fate is what happens to orphans that are told.
func (s *Scanner) fate() string {
	if s.cfg.Name == "" {
		return "others may use the node, so they stay"
	}
	return "the peer did not make them, or does not know that they were deleted or are held by others, so they stay"
}

// check looks at one suspect. It fails only when the node or the state cannot be asked.
// told reports whether it is an orphan that stays.
func (s *Scanner) check(ctx context.Context, key cid.Cid) (told bool, err error) {
	s.mu.Lock()
	current, ok := s.suspects[key]
	if !ok {
		s.mu.Unlock()
		return false, nil
	}
	givenUp, failed := current.givenUp, current.failed
	current.renewed = false
	s.mu.Unlock()

	wanted, err := s.cfg.Wanted(ctx, key)
	if err != nil {
		return false, err
	}
	if wanted {
		s.drop(key)
		return false, nil
	}
	if !givenUp && s.cfg.Name == "" {
		return s.tell(key), nil
	}
	pinned, name, err := s.cfg.Node.Pinned(ctx, key)
	if err != nil {
		return false, err
	}
	// A direct pin does not show, but its removal is made up for.
	if !pinned && !failed {
		s.absent(key)
		return false, nil
	}
	if !givenUp {
		ours, err := s.ours(ctx, key, name)
		if err != nil {
			return false, err
		}
		if !ours {
			return s.tell(key), nil
		}
	}
	if kept, err := s.kept(ctx, key, pinned); err != nil || kept {
		return false, err
	}
	begun, err := s.cfg.Untrack(ctx, key)
	if err != nil {
		return false, err
	}
	s.untracked(key, begun, pinned)
	return false, nil
}

// ours reports whether a pin that a scan found may be removed.
func (s *Scanner) ours(ctx context.Context, key cid.Cid, name string) (bool, error) {
	if name != s.cfg.Name {
		return false, nil
	}
	return s.cfg.Gone(ctx, key)
}

// kept reports whether a pin stays for now, which others are to hold: it is not known that they have it (U98
// in docs/upstream-faults.md).
func (s *Scanner) kept(ctx context.Context, key cid.Cid, pinned bool) (bool, error) {
	if !pinned {
		return false, nil
	}
	if moved, err := s.cfg.Moved(ctx, key); err != nil || !moved {
		return false, err
	}
	gone, err := s.cfg.Gone(ctx, key)
	if err != nil { // Others could not be asked, which is no fault of the node.
		logger.Debugf("whether others hold %s: %s", key, err)
	}
	if gone {
		return false, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if current, ok := s.suspects[key]; ok {
		current.due = s.now().Add(keptDelay)
	}
	return true, nil
}

// untracked notes that the pin tracker removes a pin, and has the result looked at.
func (s *Scanner) untracked(key cid.Cid, begun, pinned bool) {
	if begun && pinned {
		s.removed.Add(1)
		logger.Infof("the IPFS node has kept %s, which the cluster does not have: it is removed", key)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.told, key)
	if current, ok := s.suspects[key]; ok {
		current.givenUp, current.step = true, 0
		if !current.renewed { // The removal has not failed again already.
			current.failed, current.due = false, s.now().Add(s.delays[0])
		}
	}
}

// absent notes that the node does not have a pin. One that was given up may come yet.
func (s *Scanner) absent(key cid.Cid) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.told, key)
	current, ok := s.suspects[key]
	switch {
	case !ok || current.renewed:
	case current.givenUp && current.step+1 < len(s.delays):
		current.step++
		current.due = current.since.Add(s.delays[current.step])
		if soon := s.now().Add(s.delays[0]); current.due.Before(soon) {
			current.due = soon
		}
	default:
		delete(s.suspects, key)
	}
}

// drop ends the suspicion: the pin is wanted.
func (s *Scanner) drop(key cid.Cid) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.suspects, key)
	delete(s.told, key)
}

// tell notes an orphan that stays, and reports whether it is a new one.
func (s *Scanner) tell(key cid.Cid) (fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.suspects, key)
	if _, ok := s.told[key]; ok || len(s.told) >= maxTold {
		return false
	}
	s.told[key] = struct{}{}
	return true
}
