package remoteread

// outcome is how a request for a pin that this peer did not know ended.
type outcome uint8

const (
	arrived    outcome = iota // The pin came to be known here.
	elsewhere                 // Another peer's record is the response.
	absent                    // No peer has the pin.
	unanswered                // Not all peers answered, or the pin did not arrive in time.
	limited                   // Too many such requests.
	outcomes
)

func (o outcome) String() string {
	return [outcomes]string{"arrived", "elsewhere", "absent", "unanswered", "limited"}[o]
}

// Counts are the requests since the start, by how they ended.
func (r *Reader) Counts() map[string]uint64 {
	counts := make(map[string]uint64, outcomes)
	for o := range outcomes {
		counts[o.String()] = r.counts[o].Load()
	}
	return counts
}
