package hostile

import (
	"net/http"
	"strings"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// What peers of a Raft cluster log at the most verbose level, while they join, are read and written, are reloaded
// and start again, has no secret of any of them.
func TestDaemon_NoSecretInTheLogsOfRaftPeers(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	one := h.Peer(harness.InitOptions{Args: []string{"--consensus", "raft"}})
	two := h.Joining(one, "raft")
	one.StartDebug()
	two.StartLogging("debug", "--bootstrap", one.Address())
	two.WaitReady()
	peers := []*harness.Peer{one, two}
	var secrets []string
	for _, p := range peers {
		token := p.Token()
		secrets = append(append(secrets, p.Secrets()...), token)
		id := p.Add(numbered(1), "name").RequestID
		for _, r := range []struct{ method, path, auth string }{
			{http.MethodGet, "/pins", "Bearer " + token},
			{http.MethodGet, "/pins", "Bearer " + token + "x"},
			{http.MethodGet, "/pins?access_token=" + token, ""},
			{http.MethodPost, "/token", ""},
			{http.MethodDelete, "/pins/" + id, "Bearer " + token},
		} {
			req, err := http.NewRequest(r.method, p.Endpoint()+r.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if r.auth != "" {
				req.Header.Set("Authorization", r.auth)
			} else {
				req.SetBasicAuth(p.User, p.Password)
			}
			if _, err := harness.Send(req); err != nil {
				t.Error(err)
			}
		}
		const added = "the password of another user"
		p.Edit(func(c harness.Section) { c.Section("api", "pinsvcapi", "basic_auth_credentials").Set("bob", added) })
		p.Process().WaitOutput(harness.Timeout, "reloaded users")
		secrets = append(secrets, added)
	}
	logs := one.Process().Output() + two.Process().Output()
	two.Stop()
	two.StartLogging("debug")
	two.WaitReady()
	two.Stop()
	one.Stop()
	logs += one.Process().Output() + two.Process().Output()
	if !strings.Contains(logs, "DEBUG") {
		t.Error("the logs are not verbose")
	}
	checkLog(t, logs, secrets...)
}
