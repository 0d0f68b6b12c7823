package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer"
	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/sectionconfig"
)

// exampleCID carries its content, a line of text, within itself: pinning it
// works without any network.
const exampleCID = "bafkqaikimvwgy3zamzzg63japfxxk4raobuw43tjnztsa43foj3gsy3feefa"

// readyTemplate is what to type next. Commands have a line of their own, so
// that they can be copied whole. It has no password: standard output may be a
// log that others can read.
var readyTemplate = template.Must(template.New("ready").Parse(`
Ready: the Pinning Service API is at {{.Endpoint}}
{{if .User}}
The password of {{range $i, $u := .Users}}{{if $i}}, {{end}}{{$u}}{{end}} is in {{.ConfigFile}} (api.pinsvcapi.basic_auth_credentials){{if .FromEnvironment}} or the environment{{end}}.
To get a token for {{.User}} on this machine, or with the password anywhere:
  {{.Token}}
  {{.Curl}}
To use it with Kubo (ipfs), once add the service, then pin:
{{- else}}
It has no users and needs no token. To use it with Kubo (ipfs), once add the service, then pin:
{{- end}}
  ipfs pin remote service add {{.Service}} {{.Endpoint}} {{.Key}}
  ipfs pin remote add --service={{.Service}} --name=hello {{.CID}}
The ipfs command can be that of any Kubo node of yours.{{if .Managed}} Without one, use that of the service's own node:
  alias ipfs={{.Alias}}{{end}}
Ctrl-C stops the service.

`))

type readyData struct {
	Endpoint, ConfigFile, Token, Curl, Service, Key, CID, Alias string
	User                                                        string // The one of the commands.
	Users                                                       []string
	FromEnvironment, Managed                                    bool
}

// showReady writes the ready text in one piece, so that no log line gets in
// between. A terminal that was closed is no reason to stop.
func (d *daemonRun) showReady(p *peer.Peer) {
	text, err := d.readyText(p.PinsvcAddrs())
	if err != nil {
		d.notice("error showing how to use the service: %s", err)
	}
	_, _ = io.WriteString(d.out, text)
}

// readyText shows the commands for the first of the users: one that was made by
// this run, if any.
func (d *daemonRun) readyText(addrs []string) (string, error) {
	endpoint := endpointURL(d.cfg.Pinsvcapi, addrs)
	if endpoint == "" {
		return fmt.Sprintf("\nReady. The Pinning Service API is not served over TCP; see api.pinsvcapi in %s.\n\n",
			d.files.Config), nil
	}
	data := readyData{
		Endpoint:   endpoint,
		ConfigFile: d.files.Config,
		Service:    "pinsvc",
		Key:        "none", // Kubo wants one.
		CID:        exampleCID,
		Alias:      quote(d.commandLine() + " ipfs"),
		Managed:    d.cfg.HasManaged(),
		Users:      slices.Sorted(maps.Keys(d.cfg.Pinsvcapi.BasicAuthCredentials)),
	}
	if len(data.Users) > 0 {
		data.User = data.Users[0]
		if len(d.newUsers) > 0 {
			data.User = d.newUsers[0].Name
		}
		data.FromEnvironment = passwordsFromEnvironment()
		data.Service = serviceName(data.User)
		data.Token = d.tokenCommandLine(data.User)
		data.Curl = fmt.Sprintf("curl -X POST -u %s %s/token", quote(data.User), endpoint)
		data.Key = fmt.Sprintf(`"$(%s)"`, data.Token)
	}
	var text strings.Builder
	err := readyTemplate.Execute(&text, data)
	return text.String(), err
}

// passwordsFromEnvironment reports whether a variable overrides the users of
// the configuration file.
func passwordsFromEnvironment() bool {
	const name = "CLUSTER_PINSVCAPI_BASICAUTHCREDENTIALS"
	_, value := os.LookupEnv(name)
	_, file := os.LookupEnv(name + sectionconfig.FileSuffix)
	return value || file
}

// tokenCommandLine is how to print a token for a user.
func (p *program) tokenCommandLine(user string) string {
	return p.commandLine() + " token --user " + quote(user)
}

// endpointURL is the URL for clients on this machine, base_path included: the
// first TCP address of the API, or "".
func endpointURL(cfg *config.Config, addrs []string) string {
	for _, text := range addrs {
		addr, err := netip.ParseAddrPort(text)
		if err != nil {
			continue // The path of a socket.
		}
		host := addr.Addr().Unmap().String()
		if addr.Addr().IsUnspecified() {
			host = "127.0.0.1"
		}
		scheme := "http"
		if cfg.TLS != nil {
			scheme = "https"
			// A client compares the name in the address with the certificate.
			host = cmp.Or(certificateName(cfg), host)
		}
		return fmt.Sprintf("%s://%s%s", scheme, net.JoinHostPort(host, fmt.Sprint(addr.Port())), cfg.BasePath)
	}
	return ""
}

// certificateName is a name that the certificate is valid for, or "".
func certificateName(cfg *config.Config) string {
	for _, cert := range cfg.TLS.Certificates {
		if cert.Leaf == nil {
			continue
		}
		for _, name := range cert.Leaf.DNSNames {
			if !strings.Contains(name, "*") {
				return name
			}
		}
	}
	return ""
}

// commandLine is how to run this program on this folder from anywhere.
func (p *program) commandLine() string {
	line := programName
	if _, name := filepath.Split(os.Args[0]); name != os.Args[0] {
		if path, err := os.Executable(); err == nil {
			line = quote(path)
		}
	}
	if p.files.Folder() != filepath.Join(home(), defaultFolder) {
		line += " --config " + quote(p.files.Folder())
	}
	return line
}

// plain is text that no shell changes.
var plain = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// quote makes text one word of a shell's command line.
func quote(text string) string {
	if plain.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// serviceName is the user's name if Kubo accepts it as the name of a service.
func serviceName(user string) string {
	if plain.MatchString(user) && !strings.ContainsAny(user, "./") {
		return user
	}
	return "pinsvc"
}
