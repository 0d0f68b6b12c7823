package main

import (
	"strings"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/auth"
)

func TestToken_IsAccepted(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("init", "--user", "alice", "--user", "bob")
	passwords := map[string]string{}
	for user, password := range s.readConfig().section("api", "pinsvcapi", "basic_auth_credentials") {
		passwords[user] = password.(string)
	}
	service, err := auth.New(passwords)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, user := range []string{"alice", "bob", "alice"} {
		token := s.must("token", "--user", user)
		if !strings.HasSuffix(token, "\n") || strings.Count(token, "\n") != 1 {
			t.Errorf("not one line: %q", token)
		}
		caller, ok, err := service.Authenticate("Bearer " + strings.TrimSpace(token))
		if err != nil || !ok || string(caller.User) != user {
			t.Errorf("%s: %+v, %v, %v", user, caller, ok, err)
		}
		if seen[token] {
			t.Error("the same token twice")
		}
		seen[token] = true
	}
}

func TestToken_NamesTheUser(t *testing.T) {
	t.Parallel()
	none, one, two, unserved := newShell(t), newShell(t), newShell(t), newShell(t)
	none.must("init")
	one.must("init", "--user", "alice")
	two.must("init", "--user", "alice", "--user", "bob")
	unserved.must("init", "--user", "alice")
	unserved.edit(func(config object) { delete(config.section("api"), "pinsvcapi") })
	one.must("token")
	two.must("token", "bob")
	for _, c := range []struct {
		s          *shell
		args, want string
	}{
		{none, "token", "no users"},
		{none, "token --user alice", "no users"},
		{one, "token --user carol", `no user "carol"`},
		{two, "token", "alice, bob"},
		{two, "token", "token --user alice"},
		{two, "token carol", `no user "carol"`},
		{unserved, "token", "has no section api.pinsvcapi"},
		{unserved, "token --user alice", "is not served"},
	} {
		r := c.s.run(strings.Fields(c.args)...)
		if r.code != 1 || r.out != "" || !strings.Contains(r.errOut, c.want) {
			t.Errorf("%s: exit code %d, %q, %s", c.args, r.code, r.out, r.errOut)
		}
	}
	// The environment overrides the file here as it does for the daemon.
	one.env = append(one.env, "CLUSTER_PINSVCAPI_BASICAUTHCREDENTIALS=dave:secret")
	one.must("token", "--user", "dave")
}
