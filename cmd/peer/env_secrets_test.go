package peer

import (
	"encoding/base64"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"
)

// secretIn writes a file with a secret and sets the variable that names it.
func secretIn(t *testing.T, variable, secret string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	noError(t, os.WriteFile(path, []byte(secret), 0o600))
	t.Setenv(variable+"_FILE", path)
}

// privateKey is a new key as identity.json has it, and the ID of its peer.
func privateKey(t *testing.T) (text string, id libp2ppeer.ID) {
	t.Helper()
	key, public, err := crypto.GenerateEd25519Key(nil)
	noError(t, err)
	raw, err := crypto.MarshalPrivateKey(key)
	noError(t, err)
	id, err = libp2ppeer.IDFromPublicKey(public)
	noError(t, err)
	return base64.StdEncoding.EncodeToString(raw), id
}

const clusterSecret = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// The secrets of upstream's sections can come from files, at init and at the
// start of the peer.
func TestApplySecretFiles(t *testing.T) {
	key, id := privateKey(t)
	secretIn(t, "CLUSTER_SECRET", clusterSecret+"\n")
	secretIn(t, "CLUSTER_PRIVATEKEY", key+"\n")
	secretIn(t, "CLUSTER_RESTAPI_BASICAUTHCREDENTIALS", "alice:pa:ss, word\nbob:b\n")
	secretIn(t, "CLUSTER_PINSVCAPI_BASICAUTHCREDENTIALS", `{"carol": "c"}`)

	files := FilesIn(t.TempDir())
	_, err := Init(files, InitOptions{Profile: ProfilePrivate})
	noError(t, err)
	for name, c := range map[string]*Configuration{"made by init": loaded(t, files), "of before": loaded(t, withIdentity(t, key, id))} {
		cfgs := c.Helper.Configs()
		if got := hex.EncodeToString(cfgs.Cluster.Secret); got != clusterSecret {
			t.Errorf("%s: the cluster secret is %s", name, got)
		}
		if c.Helper.Identity().ID != id {
			t.Errorf("%s: the identity is %s, want %s", name, c.Helper.Identity().ID, id)
		}
		if users := cfgs.Restapi.BasicAuthCredentials; len(users) != 2 || users["alice"] != "pa:ss, word" || users["bob"] != "b" {
			t.Errorf("%s: the users of the REST API are %v", name, users)
		}
		if users := c.Pinsvcapi.BasicAuthCredentials; len(users) != 1 || users["carol"] != "c" {
			t.Errorf("%s: the users of the Pinning Service API are %v", name, users)
		}
	}
}

// withIdentity is a peer of ipfs-cluster-service with that identity.
func withIdentity(t *testing.T, key string, id libp2ppeer.ID) Files {
	t.Helper()
	files := upstreamFiles(t, "crdt", "pebble")
	noError(t, os.WriteFile(files.Identity, []byte(`{"id":"`+id.String()+`","private_key":"`+key+`"}`), 0o600))
	return files
}

func TestApplySecretFiles_FaultsNameTheVariable(t *testing.T) {
	other, _ := privateKey(t)
	for _, test := range []struct{ name, variable, secret, want string }{
		{"no secret", "CLUSTER_SECRET", "not hexadecimal", "64 hexadecimal digits"},
		{"short secret", "CLUSTER_SECRET", "abcd", "64 hexadecimal digits"},
		{"empty", "CLUSTER_SECRET", "\n", "empty"},
		{"another peer's key", "CLUSTER_PRIVATEKEY", other, "it is the key of peer"},
		{"no key", "CLUSTER_PRIVATEKEY", "?", "base64"},
		{"no password", "CLUSTER_RESTAPI_BASICAUTHCREDENTIALS", "alice", "name:value"},
		{"twice", "CLUSTER_RESTAPI_BASICAUTHCREDENTIALS", "alice:hush1\nalice:hush2", "twice"},
		{"half of JSON", "CLUSTER_RESTAPI_BASICAUTHCREDENTIALS", `{"alice": "hush1"`, "an object of texts"},
	} {
		t.Run(test.name, func(t *testing.T) {
			secretIn(t, test.variable, test.secret)
			err := configuration(t, upstreamFiles(t, "crdt", "pebble")).Load()
			if err == nil || !strings.Contains(err.Error(), test.variable+"_FILE") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v", err)
			}
			if err != nil && (strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), other)) {
				t.Errorf("the error has the secret: %v", err)
			}
		})
	}
	t.Run("both", func(t *testing.T) {
		secretIn(t, "CLUSTER_SECRET", clusterSecret)
		t.Setenv("CLUSTER_SECRET", clusterSecret)
		err := configuration(t, upstreamFiles(t, "crdt", "pebble")).Load()
		if err == nil || !strings.Contains(err.Error(), "CLUSTER_SECRET_FILE and CLUSTER_SECRET are both set") {
			t.Errorf("the error is %v", err)
		}
	})
}

// The variable without _FILE makes the users that were meant, or none.
func TestApplyClusterEnvironment_UsersOfTheRESTAPI(t *testing.T) {
	const variable = "CLUSTER_RESTAPI_BASICAUTHCREDENTIALS"
	for text, want := range map[string]map[string]string{
		`{"me":"pw"}`:           {"me": "pw"},
		`{"me":"a", "bob":"b"}`: {"me": "a", "bob": "b"},
		"me:a, bob:b":           {"me": "a", "bob": "b"},
		"me:a":                  {"me": "a"},
	} {
		t.Run(text, func(t *testing.T) {
			t.Setenv(variable, text)
			c := configuration(t, upstreamFiles(t, "crdt", "pebble"))
			noError(t, c.Load())
			if got := c.Helper.Configs().Restapi.BasicAuthCredentials; !maps.Equal(got, want) {
				t.Errorf("the users are %q, want %q", got, want)
			}
		})
	}
	for text, want := range map[string]string{
		"me:hush,ss:wd": "a comma without a blank", `{"me":"hush:2"}`: variable + "_FILE", "me:hush:2": variable + "_FILE",
		"me:hush\nbob:b": variable + "_FILE", `{"me":"hush"`: "an object", "me:": "empty", "me": "name:value", "": "no user",
	} {
		t.Run("fault", func(t *testing.T) { // Its name is in the path of the file, and so in the fault.
			t.Setenv(variable, text)
			found := Check(upstreamFiles(t, "crdt", "pebble"))
			if len(found.Faults) != 1 || !strings.Contains(found.Faults[0], variable+": ") || !strings.Contains(found.Faults[0], want) ||
				strings.Contains(found.Faults[0], "hush") {
				t.Errorf("the faults are %q", found.Faults)
			}
		})
	}
}

// Never a user that nobody meant.
func TestDecodeCredentials(t *testing.T) {
	users, err := decodeCredentials("alice:secret\n bob:hidden\n")
	if err != nil || users["alice"] != "secret" || users["bob"] != "hidden" || len(users) != 2 {
		t.Errorf("%v, %v", users, err)
	}
	for _, text := range []string{
		"me:pa,ss:wd", "me:a, bob:b", "me: pw", "me:a\nme:b", `{"me":"a","me":"b"}`, `{"me":""}`, `{"":"a"}`, ":a", "me:", "me",
	} {
		if users, err := decodeCredentials(text); err == nil {
			t.Errorf("%q makes the users %q", text, users)
		}
	}
}
