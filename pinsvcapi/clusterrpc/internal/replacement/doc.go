// Package replacement knows which pins others have replaced (D6). A pin that was
// replaced by another content is hidden from clients at once, but its record stays in
// the shared state, and so its content stays pinned, until the new pin is pinned.
//
// The record of the new pin names the pins that it replaced, each by key and revision
// (pinrecord.Replaced). That is all that is kept in the state: one write of one record
// begins a replacement. A replacement is over when that revision is gone: the pin was
// unpinned, or requested anew, which makes another revision. So nothing has to be
// removed from the record of the new pin, and a late or repeated step does no harm.
//
// Replacements form chains: B replaced A, C replaced B. C names B and what B named, as
// far as there is room, and the hidden record of B still names A.
//
//	      visible                        hidden
//	┌───────────────┐  names     ┌────────────────┐  names    ┌─────┐
//	│ C             │ ─────────► │ B@revision     │ ────────► │ A@… │
//	└───────────────┘            └────────────────┘           └─────┘
//
// A hidden pin is due to be unpinned when every visible pin from which names lead to it
// is pinned. It stays when there is none: nobody has taken its place.
//
// Within a chain a hidden pin may become complete, which Complete notes: what it has
// replaced is due then, for it is newer. One that has failed may be unpinned (IsSpare).
//
// The index is fed with the records of the state in any order and ends the same. It is
// between the syncer and the tracker: what is hidden does not reach the view.
package replacement
