package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// "ipfs" becomes the program that the configuration names: its arguments,
// even those that look like ours, input, output and exit code.
func TestIPFS_PassesEverythingOn(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("init", "--profile", "private")
	program := filepath.Join(s.home, "ipfs")
	script := "#!/bin/sh\nprintf '%s\\n' \"$@\" \"repo $IPFS_PATH\"\ncat\necho problem >&2\nexit 7\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	s.edit(func(c object) { c.section("ipfs_connector", "managed")["binary_path"] = program })

	if r := s.run("ipfs", "id"); r.code != 1 || !strings.Contains(r.errOut, "no IPFS repo") {
		t.Errorf("without a repo: exit code %d, %s", r.code, r.errOut)
	}
	if err := os.Mkdir(s.path("ipfs"), 0o700); err != nil {
		t.Fatal(err)
	}
	content, err := json.Marshal(map[string]any{"Identity": map[string]any{}})
	if err != nil {
		t.Fatal(err)
	}
	writeText(t, s.path("ipfs/config"), string(content))
	r := s.answer("input", "ipfs", "pin", "--force", "-f", "two words", "--", "--help", "-h", "")
	want := "pin\n--force\n-f\ntwo words\n--\n--help\n-h\n\nrepo " + s.path("ipfs") + "\ninput"
	if r.code != 7 || r.out != want || r.errOut != "problem\n" {
		t.Errorf("exit code %d\n%q\nwant\n%q\n%s", r.code, r.out, want, r.errOut)
	}
}

func TestIPFS_OfAnExternalNode(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("init", "--ipfs", "/ip4/127.0.0.1/tcp/5001")
	if r := s.run("ipfs", "id"); r.code != 1 || !strings.Contains(r.errOut, "ipfs_connector.managed") {
		t.Errorf("exit code %d, %s", r.code, r.errOut)
	}
}
