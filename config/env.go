package config

// ApplyEnvVars sets the keys whose environment variables are set (see Keys)
// and validates the result. The forms are those of ipfs-cluster, and JSON:
//
//   - Lists are separated by commas: "/ip4/127.0.0.1/tcp/1,/ip6/::1/tcp/1".
//   - Headers are name:value pairs separated by commas: "X-A:b,X-C:d".
//   - Credentials are name:password pairs, one a line, or separated by a comma
//     and a blank: "alice:secret, bob:hidden". A comma without a blank is a
//     fault: it could be a part of a password or separate two users.
//   - Lists, headers and credentials may be JSON as in the file.
//   - An empty variable leaves text, durations and addresses as they are, and
//     empties other lists and maps.
//
// A secret can be in a file instead: the variable with the suffix _FILE holds
// its path (see sectionconfig.LookupSecret). Credentials are then JSON, or one
// name:password pair a line.
//
// All faults come at once, as from LoadJSON, and then nothing is changed. They
// never quote a secret.
func (c *Config) ApplyEnvVars() error {
	changed, err := section().ApplyEnv(c)
	if changed {
		c.warn()
	}
	return err
}

// EnvNames returns every environment variable that the section reads, those
// for files with secrets included.
func (*Config) EnvNames() []string { return section().EnvNames() }

// SecretFiles returns the paths of the files that the environment names for
// secrets of the section. The configuration follows a change of such a file
// once it is loaded again.
func (*Config) SecretFiles() []string { return section().SecretFiles() }
