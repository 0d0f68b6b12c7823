package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/auth"
)

func (p *program) tokenCommand() cli.Command {
	return cli.Command{
		Name:      "token",
		Usage:     "Prints an access token for a user of the Pinning Service API",
		ArgsUsage: "[user]",
		Description: `
Prints a token that "ipfs pin remote service add" and other clients take as
their key, made from the user's password in the configuration. The daemon
need not run. A token is valid until the user's password changes. The user may
be left out when there is only one.
`,
		Flags: []cli.Flag{
			cli.StringFlag{Name: "user", Usage: "`NAME` of the user, as the argument"},
		},
		Action: p.token,
	}
}

func (p *program) token(c *cli.Context) error {
	cfg, err := p.load()
	if err != nil {
		return err
	}
	passwords := cfg.Pinsvcapi.BasicAuthCredentials
	users := slices.Sorted(maps.Keys(passwords))
	user := cmp.Or(c.String("user"), c.Args().First())
	switch {
	case !cfg.HasPinsvcapi():
		return fmt.Errorf("making a token: the Pinning Service API is not served: %s has no section api.pinsvcapi", p.files.Config)
	case len(users) == 0:
		return errors.New("making a token: the Pinning Service API has no users, and so needs no token; " +
			"api.pinsvcapi.basic_auth_credentials has them")
	case user == "" && len(users) == 1:
		user = users[0]
	case user == "":
		return fmt.Errorf("making a token: there are several users, name one of %s: token --user %s",
			strings.Join(users, ", "), quote(users[0]))
	case passwords[user] == "":
		return fmt.Errorf("making a token: there is no user %q; there are %s", user, strings.Join(users, ", "))
	}
	token, err := auth.IssueToken(user, passwords[user], time.Now())
	if err != nil {
		return fmt.Errorf("making a token: %w", err)
	}
	p.print("%s", token)
	return nil
}

// load reads the configuration without locking, also while a daemon runs.
func (p *program) load() (*peer.Configuration, error) {
	cfg := peer.NewConfiguration(p.files, "", "")
	err := cfg.Load()
	// Nothing is saved, so the end of the configuration's goroutine for saving
	// is not waited for; it takes up to a second.
	go cfg.Close()
	if err != nil {
		return nil, fmt.Errorf("loading configurations: %w", err)
	}
	return cfg, nil
}
