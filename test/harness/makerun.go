package harness

import (
	"os/exec"
	"strings"
)

// MakeRun types `make run PROFILE=private`, with the configuration in another
// folder than the developer's own.
func (h *Harness) MakeRun(data string, env ...string) *Process {
	h.t.Helper()
	Service(h.t)
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOFLAGS", "GOPROXY"} {
		value, err := exec.Command("go", "env", name).Output()
		if err != nil {
			h.t.Fatalf("go env %s: %v", name, err)
		}
		env = append(env, name+"="+strings.TrimSpace(string(value)))
	}
	p := h.start("make-run", Root(), h.environment(env...), "make", "run", "PROFILE=private", "DATA="+data)
	p.stop = p.StopGroup // make alone would wait for what it runs.
	return p
}
