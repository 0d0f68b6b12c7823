package peer

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// NewUser is a user of the Pinning Service API that Init has added. The password
// is in the configuration file only: standard output often ends in a log.
type NewUser struct {
	Name string
	// FromEnvironment means that the environment sets the password.
	FromEnvironment bool
}

// validateUsers refuses names that Basic authentication cannot transmit.
func validateUsers(users []string) error {
	for i, user := range users {
		switch {
		case user == "":
			return errors.New("adding users: a name is empty")
		case strings.Contains(user, ":"):
			return fmt.Errorf("adding users: %q has a colon, which ends the name in Basic authentication", user)
		case strings.ContainsFunc(user, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }):
			return fmt.Errorf("adding users: %q has a blank or a control character", user)
		case slices.Contains(users[:i], user):
			return fmt.Errorf("adding users: %q comes twice", user)
		}
	}
	return nil
}

// addUsers makes a password for each user, with at least 128 bits of randomness,
// in letters and digits that need no quotes in a shell. A password from the
// environment is kept: it would override ours at every start.
func (d *draft) addUsers() {
	for _, user := range d.opts.Users {
		_, set := d.api.BasicAuthCredentials[user]
		if !set {
			if d.api.BasicAuthCredentials == nil {
				d.api.BasicAuthCredentials = make(map[string]string)
			}
			d.api.BasicAuthCredentials[user] = rand.Text()
		}
		d.result.Users = append(d.result.Users, NewUser{Name: user, FromEnvironment: set})
	}
}
