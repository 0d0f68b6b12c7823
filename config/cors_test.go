package config

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/rs/cors"
)

// preflight asks, as a browser would, whether a page of origin may send a
// request of the method with those headers.
func preflight(c *Config, origin, method, headers string) http.Header {
	r := httptest.NewRequest(http.MethodOptions, "/pins", nil)
	r.Header.Set("Origin", origin)
	r.Header.Set("Access-Control-Request-Method", method)
	if headers != "" {
		r.Header.Set("Access-Control-Request-Headers", headers)
	}
	w := httptest.NewRecorder()
	cors.New(c.CORSOptions()).Handler(http.NotFoundHandler()).ServeHTTP(w, r)
	return w.Header()
}

func allowed(c *Config, origin, method string) bool {
	// A browser sends the names in lower case and sorted.
	return preflight(c, origin, method, "authorization,content-type").Get("Access-Control-Allow-Origin") != ""
}

const withUsers = `"basic_auth_credentials": {"alice": "s3cr3t"}`

func TestCORSOptions_PagesMayUseEveryRouteWithAuthorization(t *testing.T) {
	for name, section := range map[string]string{
		"by default":                     `{` + withUsers + `}`,
		"with the CORS keys of upstream": `{` + withUsers + `,` + upstreamCORS + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			c := load(t, section)
			for _, method := range []string{"GET", "HEAD", "POST", "DELETE", "OPTIONS"} {
				if !allowed(c, "https://app.example", method) {
					t.Errorf("%s is refused", method)
				}
			}
			answer := preflight(c, "https://app.example", "POST", "authorization,content-type")
			if answer.Get("Access-Control-Allow-Origin") != "*" || answer.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("any page may use what the browser remembers: %v", answer)
			}
			// The headers that the service reads. The browser sorts their names.
			const all = "authorization,content-type,x-api-key,x-request-source"
			if preflight(c, "https://app.example", "POST", all).Get("Access-Control-Allow-Origin") == "" {
				t.Errorf("%s are refused", all)
			}
		})
	}
}

const upstreamCORS = `"cors_allowed_origins": ["*"], "cors_allowed_methods": ["GET"], "cors_allowed_headers": [],
	"cors_exposed_headers": ["Content-Type", "X-Stream-Output", "X-Chunked-Output", "X-Content-Length"],
	"cors_allow_credentials": true, "cors_max_age": "0s"`

func TestCORSOptions_KeepChosenKeys(t *testing.T) {
	c := load(t, `{`+withUsers+`, "cors_allowed_methods": ["GET"]}`)
	if !allowed(c, "https://app.example", "GET") || allowed(c, "https://app.example", "POST") {
		t.Error("cors_allowed_methods alone is not what was asked for")
	}
	c = load(t, `{`+withUsers+`,`+upstreamCORS+`, "cors_max_age": "1s"}`)
	if !slices.Equal(c.CORSAllowedMethods, []string{"GET"}) || !c.CORSAllowCredentials {
		t.Error("keys that differ from those of upstream were not kept")
	}
}

func TestCORSOptions_AnyOriginWithoutUsersMayOnlyRead(t *testing.T) {
	for name, origins := range map[string]string{
		"default": "", "star": `"cors_allowed_origins": ["*"]`, "empty": `"cors_allowed_origins": []`,
		"any host": `"cors_allowed_origins": ["https://*"]`,
	} {
		t.Run(name, func(t *testing.T) {
			c := load(t, `{`+origins+`}`)
			if !allowed(c, "https://evil.example", "GET") {
				t.Error("GET is refused")
			}
			for _, method := range []string{"POST", "DELETE"} {
				if allowed(c, "https://evil.example", method) {
					t.Errorf("%s is allowed", method)
				}
			}
		})
	}
	c := load(t, `{"cors_allowed_methods": ["POST"]}`)
	if allowed(c, "https://evil.example", "POST") {
		t.Error("POST is allowed by cors_allowed_methods for any origin")
	}
}

func TestCORSOptions_NamedOriginsMayUseWhatTheyAreGiven(t *testing.T) {
	c := load(t, `{"cors_allowed_origins": ["http://localhost:*"], "cors_allow_credentials": true}`)
	answer := preflight(c, "http://localhost:3000", "DELETE", "authorization")
	if answer.Get("Access-Control-Allow-Origin") != "http://localhost:3000" ||
		answer.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("refused: %v", answer)
	}
	if allowed(c, "https://evil.example", "GET") {
		t.Error("another origin is allowed")
	}
}
