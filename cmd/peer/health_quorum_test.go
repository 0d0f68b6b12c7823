package peer

import "testing"

func TestQuorum_SaysWhatIsMissing(t *testing.T) {
	for connected, want := range map[int]string{
		1: "1 of 3 Raft peers are connected, 2 are needed",
		2: "2 of 3 Raft peers are connected, which is enough, but none is elected: an election is under way, " +
			"or a link between them passes packets in one direction only",
	} {
		if got := (quorum{connected: connected, members: 3}).counts(); got != want {
			t.Errorf("%d connected: %q", connected, got)
		}
	}
}
