package pinsvc

import (
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
)

// Users paste paths and addresses: the error says what to send instead.
func TestParseCID_ExplainsPathsAndAddresses(t *testing.T) {
	alone := "send its CID alone: " + textV1
	const below, name, content = "ipfs resolve -r /ipfs/<path>", "ipfs resolve -r /ipns/<name>", "send the CID of the content"
	key, err := cid.NewCidV1(cid.Libp2pKey, identity(36)).StringOfBase('k')
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"/ipfs/" + textV1:                                  alone,
		"/ipfs/" + textV1 + "/":                            alone,
		"ipfs/" + textV1:                                   alone,
		"/ipld/" + textV1:                                  alone,
		"ipfs://" + textV1:                                 alone,
		"IPFS://" + textV1 + "?x=1":                        alone,
		"ipfs://ipfs/" + textV1:                            alone,
		"ipfs:" + textV1:                                   alone,
		"dweb:/ipfs/" + textV1:                             alone,
		"https://ipfs.io/ipfs/" + textV1:                   alone,
		"https://ipfs.io/ipfs/" + textV1 + "?filename=a#b": alone,
		"http://" + textV1 + ".ipfs.localhost:8080/":       alone,
		"https://" + textV1 + ".ipfs.dweb.link":            alone,
		"/ipfs/" + textV0:                                  "send its CID alone: " + textV0,
		"/ipfs/" + textV1 + "/a/b.txt":                     below,
		"ipfs://" + textV1 + "/a":                          below,
		"https://ipfs.io/ipfs/" + textV1 + "/a%20b?x":      below,
		"https://" + textV1 + ".ipfs.dweb.link/a":          below,
		textV1 + "/a":                                      below,
		textV0 + "/a":                                      below,
		textV1 + "/":                                       alone,
		textV1 + "?x=1":                                    alone,
		textV1 + "#frag":                                   alone,
		textV0 + "?filename=a.txt":                         "send its CID alone: " + textV0,
		textV1 + "/?x=1#a":                                 alone,
		"/" + textV1:                                       alone,
		textV1 + ".ipfs.dweb.link":                         alone,
		textV1 + ".ipfs.dweb.link/a":                       below,
		"ipfs.io/ipfs/" + textV1:                           alone,
		"localhost:8080/ipfs/" + textV1 + "/a":             below,
		key + "?x=1":                                       name,
		"docs-ipfs-tech.ipns.dweb.link":                    name,
		"docs.ipfs.tech":                                   name,
		"docs.ipfs.tech.":                                  name,
		"docs.ipfs.tech/a?b#c":                             name,
		"docs.ipfs.tech:443/":                              name,
		"_dnslink.bücher.example":                          name,
		"1.2.3.4":                                          "is not a CID",
		"1.2.3.4:5":                                        "is not a CID",
		"a..b":                                             "is not a CID",
		"...":                                              "is not a CID",
		"me@example.com":                                   "is not a CID",
		"a b.c":                                            "is not a CID",
		textV1 + "x":                                       "is not a CID",
		textV1 + "%2Fa":                                    "is not a CID",
		"?x=1":                                             "is not a CID",
		"#":                                                "is not a CID",
		"/ipns/docs.ipfs.tech":                             name,
		"ipns://docs.ipfs.tech/a":                          name,
		"/ipns/" + key:                                     name,
		"/ipfs/" + key:                                     name,
		"https://docs-ipfs-tech.ipns.dweb.link/x":          name,
		"https://example.com/":                             content,
		"https://example.com:x/ipfs/":                      content,
		"/ipfs/":                                           content,
		"/ipfs/foo":                                        content,
		strings.TrimPrefix(textPeer, "/p2p/"):              "peer ID",
		"/ipfs/" + hashed(0, 127).String():                 "send its CID alone",
		"foo":                                              "is not a CID",
		"mailto:me":                                        "is not a CID",
	} {
		_, err := ParseCID(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
			continue
		}
		_, _, err = new(Decoder).Decode([]byte(`{"cid":"` + text + `"}`))
		checkRefusal(t, text, "cid: ", err)
	}
}

func FuzzParseCID(f *testing.F) {
	for _, text := range []string{textV0, textV1 + "?x#y", "docs.ipfs.tech", "/ipfs/" + textV1 + "/a", "ipfs://x", "https://" + textV1 + ".ipfs.x/", "dweb:/ipns/a"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCID(text)
		if (err == nil) != c.Defined() {
			t.Fatalf("%q was read as %v, %v", text, c, err)
		}
		if err != nil && len(err.Error()) > 500 {
			t.Fatalf("%q: %v", text, err)
		}
	})
}
