package faults

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// syncs names the file that this binary writes and syncs instead of running tests.
const syncs = "FAULTS_SYNCS"

// writeAndSync appends to a file, syncs it, and prints how far it is synced, until it is killed.
func writeAndSync(path string) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	for at := int64(0); ; {
		for range 3 { // More than one write before a sync.
			n, err := f.Write(bytes.Repeat([]byte{'x'}, 1000))
			if err != nil {
				panic(err)
			}
			at += int64(n)
		}
		if err := f.Sync(); err != nil {
			panic(err)
		}
		fmt.Println(at)
		time.Sleep(time.Millisecond) // The rate of the load.
	}
}

func TestKillBeforeSync(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		folder := t.TempDir()
		path := filepath.Join(folder, "000001.log")
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), syncs+"="+path)
		var out bytes.Buffer
		cmd.Stdout = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { // As whoever started a daemon does.
			defer close(ended)
			_ = cmd.Wait()
		}()
		lost, err := killBeforeSync(watch{cmd.Process.Pid, folder, "nowhere", 10 * time.Second})
		if err != nil {
			_ = cmd.Process.Kill()
		}
		<-ended
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Fields(out.String())
		told, err := strconv.ParseInt(lines[len(lines)-1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if lost.Path != path || told != lost.From || lost.To != lost.From+3000 || info.Size() != lost.To {
			t.Errorf("%d: %d bytes were told as synced, %d are in the file, got %+v", i, told, info.Size(), lost)
		}
	}
}

// A process that syncs nothing goes on.
func TestKillBeforeSync_Nothing(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if _, err = killBeforeSync(watch{cmd.Process.Pid, "/", "nowhere", 50 * time.Millisecond}); !errors.Is(err, errBusy) {
		t.Errorf("got %v", err)
	}
	if _, err := in.Write([]byte("alive")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(in.Close(), <-ended); err != nil || out.String() != "alive" {
		t.Errorf("%v: %q", err, out.String())
	}
}

func TestUnsynced_Cut(t *testing.T) {
	for name, tt := range map[string]struct {
		content, want string
	}{
		"at the end":           {"syncedlost", "synced" + "lo"},
		"in a file used again": {"syncedlostold", "synced" + "lo\x00\x00" + "old"},
	} {
		path := filepath.Join(t.TempDir(), "000001.log")
		if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := (unsynced{path, 6, 10}).cut(8); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != tt.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
