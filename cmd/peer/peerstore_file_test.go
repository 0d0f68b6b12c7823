package peer

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/host"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// What the book cannot use is somebody's all the same.
func TestAddressBook_KeepsLinesThatItCannotUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peerstore")
	self, other, joined := addressHost(t), addressHost(t), addressHost(t)
	before := "# the office\n" + line(other) + "\nno address\n/ip4/nonsense\n/ip4/127.0.0.1/tcp/9096\n" + line(self) +
		"# away for 2h: nobody\n# away for 70000h: " + other.ID().String() + "\n" +
		strings.Repeat("/", 100_000) + "\n" + "# the end"
	noError(t, os.WriteFile(path, []byte(before), 0o600))
	book := opened(t, self, path, speakers)
	connect(t, joined, self)
	awaitWritten(t, book, before+"\n"+line(joined))
}

// The file may be edited at any time.
func TestAddressBook_EditedWhileItRuns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peerstore")
	self, there, gone, moved, added := addressHost(t), addressHost(t), addressHost(t), addressHost(t), addressHost(t)
	noError(t, os.WriteFile(path, []byte(line(gone)+line(moved)), 0o600))
	book := opened(t, self, path, speakers)
	connect(t, there, self)
	awaitWritten(t, book, line(gone)+line(moved)+line(there))

	elsewhere := "/ip4/127.0.0.1/tcp/1/p2p/" + moved.ID().String() + "\n"
	noError(t, os.WriteFile(path, []byte(line(added)+elsewhere), 0o600))
	awaitWritten(t, book, line(added)+elsewhere+line(there))
	for other, want := range map[host.Host]int{gone: 0, moved: 1, added: 1} {
		if got := self.Peerstore().Addrs(other.ID()); len(got) != want {
			t.Errorf("the host knows %v, want %d", got, want)
		}
	}
}

// What an editor is writing is neither taken over nor overwritten.
func TestAddressBook_AFileThatIsBeingWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peerstore")
	self, away, joined := addressHost(t), addressHost(t), addressHost(t)
	noError(t, os.WriteFile(path, []byte("# the office\n"+line(away)), 0o600))
	book := opened(t, self, path, speakers)
	connect(t, joined, self)
	awaitIdentified(t, self, joined)
	edited := "# the offices\n" + line(away)
	for _, part := range []string{"", edited[:8], edited} { // The first opens it.
		noError(t, os.WriteFile(path, []byte(part), 0o600))
		if got := written(t, book); got != part {
			t.Errorf("%q instead of %q", got, part)
		}
		if len(self.Peerstore().Addrs(away.ID())) == 0 {
			t.Error("a peer that is away is forgotten")
		}
	}
	awaitWritten(t, book, edited+line(joined))

	// Some move the file away first.
	noError(t, os.Rename(path, path+"~"))
	book.look(t.Context())
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file was written: %v", err)
	}
	noError(t, os.Rename(path+"~", path))
	awaitWritten(t, book, edited+line(joined))
}

// What keeps nothing has nothing to forget.
func TestAddressBook_ADevice(t *testing.T) {
	self, away := addressHost(t), addressHost(t)
	book := opened(t, self, os.DevNull, speakers)
	connect(t, away, self)
	await.True(t, "the peer in the book", func() bool {
		book.look(t.Context())
		return book.find(away.ID()) != nil
	})
	noError(t, away.Close())
	await.True(t, "the end of the connection", func() bool { return !book.connected(away.ID()) })
	for range 2 {
		book.look(t.Context())
	}
	if len(self.Peerstore().Addrs(away.ID())) == 0 {
		t.Error("a peer that is away is forgotten")
	}
}

// What cannot be read is not written.
func TestAddressBook_AFileThatCannotBeRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peerstore")
	self, away, joined := addressHost(t), addressHost(t), addressHost(t)
	noError(t, os.Mkdir(path, 0o700)) // As Docker does, if what is to be mounted is not there.
	if _, err := openAddressBook(t.Context(), self, path, speakers); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a start without the file: %v", err)
	}
	noError(t, os.Remove(path))
	noError(t, os.WriteFile(path, []byte(line(away)), 0o600))
	book := opened(t, self, path, speakers)
	connect(t, joined, self)
	noError(t, os.Remove(path))
	noError(t, os.Mkdir(path, 0o700))
	await.True(t, "the peer in the book", func() bool {
		book.look(t.Context())
		return strings.HasSuffix(string(book.content(goneAfter)), line(joined))
	})
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		t.Errorf("it was replaced: %v", err)
	}
	noError(t, os.Remove(path))
	noError(t, os.WriteFile(path, []byte("# back\n"+line(away)), 0o600))
	awaitWritten(t, book, "# back\n"+line(away)+line(joined))
}
