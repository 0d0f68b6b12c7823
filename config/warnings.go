package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxNamedUsers bounds how many users a warning names.
const maxNamedUsers = 10

// Warnings returns a sentence for each value that is permitted and dangerous. It
// begins with the key and never holds a password.
func (c *Config) Warnings() []string {
	var list []string
	add := func(key, format string, args ...any) {
		list = append(list, "api."+configKey+key+": "+fmt.Sprintf(format, args...))
	}
	if open := slices.Concat(exposed(c.HTTPListenAddr), exposed(c.Libp2pListenAddr)); len(open) > 0 &&
		c.BasicAuthCredentials == nil && c.AllowUnauthenticated {
		add("", "no user is configured: everyone who reaches %s may add and delete pins", strings.Join(open, ", "))
	}
	if n := c.usersWithColons(); n > 0 {
		add(".basic_auth_credentials", "%d of %d user names have a colon, which ends the name in Basic "+
			"authentication: these users can use tokens only", n, len(c.BasicAuthCredentials))
	}
	if users := c.shortPasswords(); users != "" {
		add(".basic_auth_credentials", "the password of %s has fewer than %d characters: whoever gets a token of the user "+
			"can guess the password offline, because it signs the token", users, MinPasswordLength)
	}
	for _, network := range c.TrustedProxies {
		if network.Bits() == 0 {
			add(".trusted_proxies", "%s trusts every client: each can claim any address", network)
		}
	}
	return list
}

// usersWithColons counts users who cannot log in with a password. Tokens work
// for them, so that services of ipfs-cluster that have such users go on.
func (c *Config) usersWithColons() (n int) {
	for user := range c.BasicAuthCredentials {
		if strings.Contains(user, ":") {
			n++
		}
	}
	return n
}

// shortPasswords lists the users whose passwords are too short, or returns "".
// Names with a colon are counted, not listed: they may hold a part of a
// password.
func (c *Config) shortPasswords() string {
	var names []string
	others := 0
	for _, user := range slices.Sorted(maps.Keys(c.BasicAuthCredentials)) {
		switch {
		case utf8.RuneCountInString(c.BasicAuthCredentials[user]) >= MinPasswordLength:
		case strings.Contains(user, ":") || len(names) == maxNamedUsers:
			others++
		default:
			names = append(names, fmt.Sprintf("%q", user))
		}
	}
	switch {
	case others == 0:
		return strings.Join(names, ", ")
	case len(names) == 0:
		return fmt.Sprintf("%d users", others)
	default:
		return fmt.Sprintf("%s and %d more", strings.Join(names, ", "), others)
	}
}

func (c *Config) warn() {
	for _, warning := range c.Warnings() {
		logger.Warn(warning)
	}
}

// warnUnknown logs the names of unknown keys: a misspelt key would be ignored
// without a trace otherwise.
func (c *Config) warnUnknown() {
	for _, name := range c.UnknownKeys() {
		logger.Warnf("api.%s.%s: unknown key, ignored", configKey, name)
	}
}
