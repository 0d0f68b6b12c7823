package peer

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	hraft "github.com/hashicorp/raft"
)

// With Raft, the members of a cluster that begins with an import are those of the file peerstore, whose other
// lines do not matter.
func TestImportPins_RaftMembers(t *testing.T) {
	const other = "12D3KooWGxxWn3G95xAEGAse1wQKk8XiLUCk3sLLvDuGC7toDHzm"
	c := loaded(t, upstreamFiles(t, "raft", ""))
	self := c.Helper.Identity().ID.String()
	path := c.Helper.Configs().Cluster.GetPeerstorePath()
	noError(t, os.WriteFile(path, []byte("# peers\n/ip4/nonsense\n/ip4/127.0.0.1/tcp/9096/p2p/"+self+
		"\n"+strings.Repeat("-", 100_000)+"\n# away for 2h: "+other+"\n/ip4/127.0.0.1/tcp/9097/p2p/"+other+"\n"), 0o600))
	noError(t, c.ImportPins(t.Context(), strings.NewReader(`{"cid":"bafkqablimvwgy3y","name":"hello"}`), ImportOptions{}))
	store, err := hraft.NewFileSnapshotStore(c.Helper.Configs().Raft.GetDataFolder(), 5, nil)
	noError(t, err)
	snapshots, err := store.List()
	noError(t, err)
	var members []string
	for _, server := range snapshots[0].Configuration.Servers {
		members = append(members, string(server.ID))
	}
	want := []string{self, other}
	slices.Sort(want)
	slices.Sort(members)
	if !slices.Equal(members, want) {
		t.Errorf("%v, want %v", members, want)
	}
}

// Without the file nobody knows the members: nothing is imported, and what is there stays.
func TestImportPins_RaftMembersUnknown(t *testing.T) {
	files := upstreamFiles(t, "raft", "")
	c := loaded(t, files)
	noError(t, c.ImportPins(t.Context(), strings.NewReader(`{"cid":"bafkqablimvwgy3y","name":"before"}`), ImportOptions{}))
	path := filepath.Join(files.Folder(), "peerstore")
	noError(t, os.Mkdir(path, 0o700))
	err := c.ImportPins(t.Context(), strings.NewReader(`{"cid":"bafkqablimvwgy3y","name":"after"}`), ImportOptions{})
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("imported: %v", err)
	}
	var out bytes.Buffer
	noError(t, c.ExportPins(t.Context(), &out))
	if !strings.Contains(out.String(), `"name":"before"`) {
		t.Errorf("%s", out.String())
	}
}
