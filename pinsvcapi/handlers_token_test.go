package pinsvcapi

import (
	"net/http"
	"testing"

	"github.com/golang-jwt/jwt/v4"
)

// token gets one from the service.
func (s *service) token(options ...option) string {
	s.t.Helper()
	var response struct{ Token string }
	rep := s.do(http.MethodPost, "/token", "", options...)
	rep.decode(http.StatusOK, &response)
	if rep.header.Get("Cache-Control") != "no-store" {
		s.t.Errorf("a token may be cached: %v", rep.header)
	}
	return response.Token
}

func TestIssueToken_TwoTokensOfAUserDiffer(t *testing.T) {
	s := start(t)
	first, second := s.token(), s.token()
	if first == second {
		t.Error("they are the same, so neither can be revoked alone")
	}
	third := s.token(bearer(first))
	s.do(http.MethodGet, "/pins", "", bearer(third)).is(http.StatusOK)
	claims := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(third, claims); err != nil {
		t.Fatal(err)
	}
	if claims["iss"] != testUser || claims["iat"] == nil || claims["jti"] == nil {
		t.Errorf("claims %v", claims)
	}
}
