package peer

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Credential is a user of the Pinning Service API with the password made
// for them. A password that the environment gave is not told: "".
type Credential struct {
	User, Password string
}

// validateUsers refuses names that Basic authentication cannot carry.
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

// addUsers makes a password for each, 128 bits of randomness or more in
// letters and digits that no shell minds. A user that the environment has
// set keeps that password: it would override ours at every start.
func (d *draft) addUsers() {
	for _, user := range d.opts.Users {
		credential := Credential{User: user}
		if _, set := d.api.BasicAuthCredentials[user]; !set {
			credential.Password = rand.Text()
			if d.api.BasicAuthCredentials == nil {
				d.api.BasicAuthCredentials = make(map[string]string)
			}
			d.api.BasicAuthCredentials[user] = credential.Password
		}
		d.result.Credentials = append(d.result.Credentials, credential)
	}
}
