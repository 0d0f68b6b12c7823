package harness

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Terminal is a folder in which a user types commands. Variables stay set from
// one call to the next, also in commands that run on.
type Terminal struct {
	Dir string

	h   *Harness
	t   testing.TB
	env []string
}

// Terminal makes an empty folder. Programs in its folder "programs" are found
// first.
func (h *Harness) Terminal() *Terminal {
	h.t.Helper()
	Service(h.t) // In the PATH.
	_, dir := h.folder("terminal")
	env := h.environment()
	for _, pair := range env {
		if path, ok := strings.CutPrefix(pair, "PATH="); ok {
			env = append(env, "PATH="+filepath.Join(dir, "programs")+string(filepath.ListSeparator)+path)
		}
	}
	t := &Terminal{Dir: dir, h: h, t: h.t, env: env}
	t.write("variables", "", 0o600)
	return t
}

// Program puts a shell script into the PATH of the terminal.
func (t *Terminal) Program(name, script string) {
	t.t.Helper()
	t.write(filepath.Join("programs", name), "#!/bin/sh\nset -e -u\n"+script, 0o700)
}

func (t *Terminal) write(path, content string, mode os.FileMode) {
	t.t.Helper()
	path = filepath.Join(t.Dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.t.Fatal(err)
	}
}

// Type runs lines as one shell script, which has to succeed, and returns what it
// printed.
func (t *Terminal) Type(lines string) string {
	t.t.Helper()
	argv := shell(lines + "\nexport -p > variables")
	return run(command{dir: t.Dir, env: t.env, argv: argv}).must(t.t, argv)
}

// Run runs a command that does not end by itself, as in a terminal of its own.
func (t *Terminal) Run(line string) *Process {
	t.t.Helper()
	name, _ := t.h.folder("command")
	return t.h.start(name, t.Dir, t.env, shell("exec "+line)...)
}

// shell exports all variables that the lines set.
func shell(lines string) []string {
	return []string{"sh", "-e", "-u", "-c", ". ./variables\nset -a\n" + lines}
}
