package pinsvcapi

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"testing"
	"time"
)

// certificate is self-signed, for 127.0.0.1.
func certificate(t *testing.T, key crypto.Signer) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// Upstream's list of ciphers is for RSA alone.
func TestServerTLS_RSAAndECDSA(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		key     crypto.Signer
		version uint16
		http2   bool
	}{
		{"RSA, TLS 1.2", rsaKey, tls.VersionTLS12, false},
		{"RSA, TLS 1.3", rsaKey, tls.VersionTLS13, true},
		{"ECDSA, TLS 1.2", ecdsaKey, tls.VersionTLS12, true},
		{"ECDSA, TLS 1.3", ecdsaKey, tls.VersionTLS13, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cert, pool := certificate(t, tt.key)
			s := start(t, func(set *setup) {
				set.cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
				set.cfg.HTTPListenAddr = addrs(t, "/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/0")
			})
			transport := s.client.Transport.(*http.Transport)
			transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tt.version, MaxVersion: tt.version}
			transport.ForceAttemptHTTP2 = tt.http2
			for _, addr := range s.api.HTTPAddresses() {
				s.url = "https://" + addr
				s.do(http.MethodPost, "/pins", body(1, "")).is(http.StatusAccepted)
				s.do(http.MethodGet, "/pins/"+someCID(1).String(), "").is(http.StatusOK)
				s.do(http.MethodGet, "/pins", "", anonymous).is(http.StatusUnauthorized)
			}
		})
	}
}
