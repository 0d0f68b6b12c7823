package peer

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
)

const bootstrapPeer = "/ip4/192.168.0.129/tcp/9196/p2p/12D3KooWRN8KRjpyg9rsW2w7StbBRGper65psTZm68cjud9KAkaW"

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	noError(t, err)
	return string(content)
}

// What Init writes is what the peer loads.
func TestInit_IsLoaded(t *testing.T) {
	files := FilesIn(filepath.Join(t.TempDir(), "new"))
	done, err := Init(files, InitOptions{Profile: ProfilePrivate, Users: []string{"alice"}})
	noError(t, err)
	if !done.NewIdentity || done.Open || done.IPFS != nil || done.PeerstoreEntries != 0 {
		t.Errorf("done is %+v", done)
	}
	c := loaded(t, files)
	if !c.HasManaged() || !c.HasPinsvcapi() || !LoopbackOnly(c.Helper.Configs().Cluster.ListenAddr) {
		t.Error("not a private peer with a managed node and the API")
	}
	if got := c.Pinsvcapi.BasicAuthCredentials["alice"]; len(got) < 26 || len(done.Users) != 1 || done.Users[0] != (NewUser{Name: "alice"}) {
		t.Errorf("the password is %q, the users are %+v", got, done.Users)
	}
	if consensus, datastore, err := c.Engines(); err != nil || consensus != "crdt" || datastore != "pebble" {
		t.Errorf("engines are %s, %s, %v", consensus, datastore, err)
	}
}

func TestInit_NeedsOverwrite(t *testing.T) {
	files := FilesIn(t.TempDir())
	addr, err := ma.NewMultiaddr(bootstrapPeer)
	noError(t, err)
	_, err = Init(files, InitOptions{Peers: []ma.Multiaddr{addr}})
	noError(t, err)
	config, identity := read(t, files.Config), read(t, files.Identity)
	peerstore := filepath.Join(files.Folder(), "peerstore")

	if _, err := Init(files, InitOptions{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("want fs.ErrExist, got %v", err)
	}
	if read(t, files.Config) != config || read(t, peerstore) != bootstrapPeer+"\n" {
		t.Error("it was overwritten all the same")
	}

	// A configuration that got lost is no reason to forget the other peers.
	noError(t, os.Remove(files.Config))
	done, err := Init(files, InitOptions{})
	noError(t, err)
	if done.NewIdentity || done.PeerstoreEntries != 1 || read(t, peerstore) != bootstrapPeer+"\n" {
		t.Errorf("done is %+v", done)
	}

	_, err = Init(files, InitOptions{Overwrite: true})
	noError(t, err)
	if read(t, peerstore) != "" {
		t.Error("the peerstore was kept")
	}
	if read(t, files.Identity) != identity {
		t.Error("the identity was replaced")
	}
}

func TestValidateUsers(t *testing.T) {
	for _, c := range []struct {
		users []string
		fault string
	}{
		{nil, ""},
		{[]string{"alice", "bob@example.net", "o'neil", "Ærø", "-"}, ""},
		{[]string{""}, "empty"},
		{[]string{"a:b"}, "colon"},
		{[]string{"a b"}, "blank"},
		{[]string{"a\n"}, "blank"},
		{[]string{"a\x00"}, "control"},
		{[]string{"a", "b", "a"}, "twice"},
	} {
		err := validateUsers(c.users)
		if (err == nil) != (c.fault == "") || (err != nil && !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("%q: %v, want %q", c.users, err, c.fault)
		}
	}
}
