package pinsvcapi

import (
	_ "embed"
	"html/template"
	"mime"
	"net/http"
	"slices"
	"strings"
)

// openAPI describes everything that this package serves. Tests compare every
// response with it.
//
//go:embed openapi.yaml
var openAPI []byte

// describedAt is openAPI for a service under base_path.
func describedAt(base string) []byte {
	if base == "" {
		return openAPI
	}
	return []byte(strings.Replace(string(openAPI), "\n  - url: /\n", "\n  - url: "+base+"\n", 1))
}

// showOpenAPI is GET /openapi.yaml.
func (api *API) showOpenAPI(*request, *http.Request) (response, error) {
	return response{status: http.StatusOK, contentType: "application/yaml", body: api.openAPI}, nil
}

// extensions are what the service has beside the specification, by the names
// that programs check for.
func extensions() []string { return []string{"health", "openapi", "ready", "token"} }

// serviceInfo is the JSON form of GET /.
type serviceInfo struct {
	Service    string   `json:"service"`
	Version    string   `json:"version"`
	API        string   `json:"api"`
	OpenAPI    string   `json:"openapi"`
	Extensions []string `json:"extensions"`
}

// showRoot is GET / and GET /webui, where people with a browser come by and
// programs find out what they talk to.
func (api *API) showRoot(_ *request, r *http.Request) (response, error) {
	if prefersHTML(r.Header) {
		return api.rootPage()
	}
	resp, err := jsonResponse(http.StatusOK, serviceInfo{
		Service:    "ipfs-cluster-pinsvc",
		Version:    api.opts.Version,
		API:        "IPFS Pinning Service API 1.0.0",
		OpenAPI:    api.routes.base + "/openapi.yaml",
		Extensions: extensions(),
	})
	resp.header = http.Header{"Vary": {"Accept"}}
	return resp, err
}

// rootTemplate is the page for browsers: three lines, which load nothing.
const rootTemplate = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>IPFS pinning service</title>
<p>This is an IPFS pinning service, ipfs-cluster-pinsvc {{.Version}}: it has no pages, and programs use it over the <a href="https://ipfs.github.io/pinning-services-api-spec/">IPFS Pinning Service API</a>.</p>
<p>To use it, run <code>ipfs pin remote service add NAME ADDRESS TOKEN</code> (in IPFS Desktop: Settings, Pinning Services, Add). ADDRESS is <a href="{{.Base}}/">the address of this service</a>; TOKEN comes from whoever runs it.</p>
<p>More: <a href="{{.Base}}/openapi.yaml">its description</a>, <a href="{{.Base}}/ready">its state</a>.</p>
</html>
`

func (api *API) rootPage() (response, error) {
	page, err := template.New("root").Parse(rootTemplate)
	if err != nil {
		return response{}, err
	}
	var text strings.Builder
	if err := page.Execute(&text, struct{ Version, Base string }{api.opts.Version, api.routes.base}); err != nil {
		return response{}, err
	}
	header := http.Header{"Vary": {"Accept"}, "Content-Security-Policy": {"default-src 'none'; frame-ancestors 'none'"}}
	return response{status: http.StatusOK, header: header, contentType: "text/html; charset=utf-8", body: []byte(text.String())}, nil
}

// prefersHTML is true for browsers. They name text/html in Accept; programs
// name JSON, anything, or nothing.
func prefersHTML(h http.Header) bool {
	return slices.ContainsFunc(splitList(h.Values("Accept")), func(accepted string) bool {
		mediaType, params, err := mime.ParseMediaType(accepted)
		refused := params["q"] != "" && strings.Trim(params["q"], "0.") == ""
		return err == nil && mediaType == "text/html" && !refused
	})
}
