package peer

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/cmdutils"
	clusterconfig "github.com/ipfs-cluster/ipfs-cluster/config"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/sectionconfig"
)

// Variables for the secrets of upstream's sections. Upstream reads the values only
// (U21 in docs/upstream-faults.md); with the suffix _FILE they name a file, as
// container platforms hand out secrets. Our own sections read their files
// themselves.
const (
	envClusterSecret   = "CLUSTER_SECRET"
	envPrivateKey      = "CLUSTER_PRIVATEKEY"
	envID              = "CLUSTER_ID"
	envRESTPrivateKey  = "CLUSTER_RESTAPI_PRIVATEKEY"
	envRESTCredentials = "CLUSTER_RESTAPI_BASICAUTHCREDENTIALS"
)

// upstreamSecrets are the variables whose _FILE form is read here.
func upstreamSecrets() []string {
	return []string{envClusterSecret, envPrivateKey, envRESTPrivateKey, envRESTCredentials}
}

// secretFile returns the content of the file that name_FILE names; ok is false
// when the variable is not set.
func secretFile(name string) (secret string, ok bool, err error) {
	if _, given := os.LookupEnv(name + sectionconfig.FileSuffix); !given {
		return "", false, nil
	}
	return sectionconfig.LookupSecret(name)
}

// applyClusterEnvironment overrides the sections with the CLUSTER_ variables and
// with the files that those with the suffix _FILE name.
func applyClusterEnvironment(manager *clusterconfig.Manager, cfgs *cmdutils.Configs) error {
	users, err := restCredentials()
	if err != nil {
		return err // Upstream's error would quote the password.
	}
	if err := manager.ApplyEnvVars(); err != nil {
		return err
	}
	if users != nil {
		cfgs.Restapi.BasicAuthCredentials = users
	}
	return applySecretFiles(cfgs)
}

// restCredentials are the users in the variable of the REST API, nil when it is
// not set. Upstream's parser makes users of any text: those of {"me":"pw"} are
// {"me" with the password "pw"}.
func restCredentials() (map[string]string, error) {
	if _, given := os.LookupEnv(envRESTCredentials); !given {
		return nil, nil
	}
	text, _, err := sectionconfig.LookupSecret(envRESTCredentials)
	if err != nil {
		return nil, err // Both forms are set.
	}
	users, err := sectionconfig.ParsePairs(text)
	if err == nil {
		err = checkCredentials(users)
	}
	if err == nil && !isReadUpstream(text) {
		err = errors.New("has a password with a colon, or line breaks, which IPFS Cluster does not accept " +
			"in this variable: put the users into a file and name it in " + envRESTCredentials + sectionconfig.FileSuffix)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", envRESTCredentials, err)
	}
	return users, nil
}

// isReadUpstream reports whether upstream's ApplyEnvVars accepts the text as a
// map; it refuses any other and quotes it.
func isReadUpstream(text string) bool {
	for pair := range strings.SplitSeq(text, ",") {
		if strings.Count(pair, ":") != 1 {
			return false
		}
	}
	return true
}

// applySecretFiles sets the secrets of upstream's sections from files. It
// follows upstream's ApplyEnvVars and returns all faults, each naming the
// variable and never the secret.
func applySecretFiles(cfgs *cmdutils.Configs) error {
	var faults []error
	for _, secret := range []struct {
		variable string
		set      func(text string) error
	}{
		{envClusterSecret, func(text string) (err error) {
			cfgs.Cluster.Secret, err = decodeClusterSecret(text)
			return err
		}},
		{envRESTPrivateKey, func(text string) (err error) {
			cfgs.Restapi.PrivateKey, err = decodePrivateKey(text)
			return err
		}},
		{envRESTCredentials, func(text string) (err error) {
			cfgs.Restapi.BasicAuthCredentials, err = decodeCredentials(text)
			return err
		}},
	} {
		text, ok, err := secretFile(secret.variable)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if !ok {
			continue
		}
		if err := secret.set(text); err != nil {
			faults = append(faults, fmt.Errorf("%s%s: %w", secret.variable, sectionconfig.FileSuffix, err))
		}
	}
	rest := cfgs.Restapi
	if len(faults) == 0 && len(rest.HTTPListenAddr)+len(rest.Libp2pListenAddr) > 0 { // The section is used.
		faults = append(faults, rest.Validate()) // The key must belong to its ID.
	}
	return errors.Join(faults...)
}

// applyIdentityFile sets the private key of an identity from a file. The ID
// must be the one of the key; that of a new identity follows from the key
// unless CLUSTER_ID sets it.
func applyIdentityFile(ident *clusterconfig.Identity, isNew bool) error {
	text, ok, err := secretFile(envPrivateKey)
	if !ok || err != nil {
		return err
	}
	key, err := decodePrivateKey(text)
	if err != nil {
		return fmt.Errorf("%s%s: %w", envPrivateKey, sectionconfig.FileSuffix, err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return fmt.Errorf("%s%s: %w", envPrivateKey, sectionconfig.FileSuffix, err)
	}
	if _, given := os.LookupEnv(envID); isNew && !given {
		ident.ID = id
	}
	if ident.ID != id {
		return fmt.Errorf("%s%s: it is the key of peer %s, not of %s, which the identity file or %s names",
			envPrivateKey, sectionconfig.FileSuffix, id, ident.ID, envID)
	}
	ident.PrivateKey = key
	return nil
}

// applyNewIdentityEnvironment applies the environment variables to a new identity.
// A private key from a file comes before upstream's check that ID and key
// belong together.
func applyNewIdentityEnvironment(ident *clusterconfig.Identity) error {
	if _, fromFile := os.LookupEnv(envPrivateKey + sectionconfig.FileSuffix); !fromFile {
		return ident.ApplyEnvVars()
	}
	if text, given := os.LookupEnv(envID); given {
		id, err := peer.Decode(text)
		if err != nil {
			return fmt.Errorf("%s: %w", envID, err)
		}
		ident.ID = id
	}
	return applyIdentityFile(ident, true)
}

// decodeClusterSecret reads 32 bytes in hexadecimal. Errors do not quote text.
func decodeClusterSecret(text string) ([]byte, error) {
	secret, err := ipfscluster.DecodeClusterSecret(strings.TrimSpace(text))
	if err != nil {
		return nil, errors.New("the cluster secret must be 64 hexadecimal digits (32 bytes)")
	}
	return secret, nil
}

// decodePrivateKey reads a libp2p private key in base64.
func decodePrivateKey(text string) (crypto.PrivKey, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil, errors.New("the private key must be base64, as in identity.json")
	}
	key, err := crypto.UnmarshalPrivateKey(raw)
	if err != nil {
		return nil, errors.New("the private key must be a libp2p private key, as in identity.json")
	}
	return key, nil
}

// decodeCredentials reads a JSON object of users and passwords, or one
// user:password pair a line. Errors quote no password.
func decodeCredentials(text string) (map[string]string, error) {
	users, err := sectionconfig.ParsePairsFile(text)
	if err != nil {
		return nil, err
	}
	return users, checkCredentials(users)
}

func checkCredentials(users map[string]string) error {
	if len(users) == 0 {
		return errors.New("holds no user")
	}
	for user, password := range users {
		if user == "" || password == "" {
			return errors.New("holds an empty user name or password")
		}
	}
	return nil
}
