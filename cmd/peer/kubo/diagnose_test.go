package kubo

import (
	"errors"
	"strings"
	"testing"
)

func TestDiagnose_ExplainsTheEndInOneSentence(t *testing.T) {
	t.Parallel()
	exit := errors.New("exit status 1")
	for _, test := range []struct{ line, want string }{
		{"Error: lock /r/repo.lock: someone else has the lock", "the IPFS repo at /r is in use by another process"},
		{"Error: write /r/blocks/x: no space left on device", "the disk that holds the IPFS repo at /r is full"},
		{"Error: open /r/config: permission denied", "the IPFS node lacks a permission (open /r/config: permission denied)"},
		{"Error: serveHTTPApi: manet.Listen(/ip4/127.0.0.1/tcp/5001) failed: listen tcp4: bind: address already in use",
			"a port of Kubo is in use by another program (serveHTTPApi"},
		{"Error: failed to listen on any addresses: [x]", "a port of Kubo is in use"},
		{"Error: something new", "the IPFS node ended (exit status 1): something new"},
		{"all is well", "the IPFS node ended (exit status 1)"},
	} {
		got := diagnose("/r", exit, []string{"Initializing daemon...", test.line, "(see the log)"})
		if !strings.HasPrefix(got.Error(), test.want) || strings.Contains(got.Error(), "\n") {
			t.Errorf("%q is explained as %q", test.line, got)
		}
	}
	if got := diagnose("/r", nil, nil).Error(); got != "the IPFS node ended (exit status 0)" {
		t.Errorf("a quiet end is explained as %q", got)
	}
}
