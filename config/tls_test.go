package config

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func newRSAKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newECDSAKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// writeCertificate writes name.crt and name.key for 127.0.0.1 and returns the
// certificate.
func writeCertificate(t *testing.T, dir, name string, key crypto.Signer) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".crt": {Type: "CERTIFICATE", Bytes: der},
		name + ".key": {Type: "PRIVATE KEY", Bytes: pkcs8},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// handshake connects to a listener with the server's configuration.
func handshake(t *testing.T, server *tls.Config, root *x509.Certificate, maxVersion uint16) error {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.(*tls.Conn).Handshake()
	}()
	roots := x509.NewCertPool()
	roots.AddCert(root)
	conn, err := tls.Dial("tcp", listener.Addr().String(),
		&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10, MaxVersion: maxVersion})
	if err == nil {
		conn.Close()
	}
	listener.Close()
	<-done
	return err
}

func TestTLS_CertificatesOfBothKindsServe(t *testing.T) {
	for name, key := range map[string]crypto.Signer{"rsa": newRSAKey(t), "ecdsa": newECDSAKey(t)} {
		for _, where := range []string{"relative", "absolute"} {
			t.Run(name+" "+where, func(t *testing.T) {
				dir := t.TempDir()
				root := writeCertificate(t, dir, "server", key)
				prefix := ""
				if where == "absolute" {
					prefix = dir + "/"
				}
				c := NewConfig()
				c.SetBaseDir(dir)
				if err := c.LoadJSON([]byte(`{"ssl_cert_file": "` + prefix + `server.crt", "ssl_key_file": "` + prefix + `server.key"}`)); err != nil {
					t.Fatal(err)
				}
				if c.PathSSLCertFile != prefix+"server.crt" {
					t.Errorf("the path as written is lost: %s", c.PathSSLCertFile)
				}
				for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
					if err := handshake(t, c.TLS, root, version); err != nil {
						t.Errorf("version %x: %v", version, err)
					}
				}
				if handshake(t, c.TLS, root, tls.VersionTLS11) == nil {
					t.Error("TLS 1.1 is accepted")
				}
			})
		}
	}
}

func TestTLS_RefusesTheKeyOfAnotherCertificate(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir, "a", newECDSAKey(t))
	writeCertificate(t, dir, "b", newECDSAKey(t))
	c := NewConfig()
	c.SetBaseDir(dir)
	err := c.LoadJSON([]byte(`{"ssl_cert_file": "a.crt", "ssl_key_file": "b.key"}`))
	if err == nil || !strings.HasPrefix(err.Error(), "api.pinsvcapi.ssl_cert_file: and ssl_key_file ") {
		t.Errorf("got %v", err)
	}
}

func TestTLS_ReadsABoundedPartOfAFile(t *testing.T) {
	c := NewConfig()
	err := c.LoadJSON([]byte(`{"ssl_cert_file": "/dev/zero", "ssl_key_file": "/dev/zero"}`))
	if err == nil || len(faultsOf(t, err)) != 2 {
		t.Errorf("got %v", err)
	}
}

func TestTLS_OfAnEmbedderSurvivesTheVariables(t *testing.T) {
	c := defaults(t)
	c.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	t.Setenv("CLUSTER_PINSVCAPI_IDLETIMEOUT", "1s")
	if err := c.ApplyEnvVars(); err != nil {
		t.Fatal(err)
	}
	if c.TLS == nil || c.IdleTimeout != time.Second {
		t.Errorf("got %v, idle %v", c.TLS, c.IdleTimeout)
	}
}

func TestLoadCertificate_ReadsARenewedPair(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir, "server", newECDSAKey(t))
	c := NewConfig()
	c.SetBaseDir(dir)
	if err := c.LoadJSON([]byte(`{"ssl_cert_file": "server.crt", "ssl_key_file": "server.key"}`)); err != nil {
		t.Fatal(err)
	}
	first := c.TLS.Certificates[0].Leaf
	renewed := writeCertificate(t, dir, "server", newRSAKey(t))
	cert, err := c.LoadCertificate()
	if err != nil || !cert.Leaf.Equal(renewed) {
		t.Fatalf("not the renewed certificate: %v", err)
	}
	if !c.TLS.Certificates[0].Leaf.Equal(first) {
		t.Error("TLS has changed")
	}
	server := c.TLS.Clone()
	server.Certificates, server.GetCertificate = nil, func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.LoadCertificate() }
	if err := handshake(t, server, renewed, tls.VersionTLS13); err != nil {
		t.Errorf("the renewed certificate is not served: %v", err)
	}
	if certFile, keyFile := c.CertificateFiles(); certFile != filepath.Join(dir, "server.crt") || keyFile != filepath.Join(dir, "server.key") {
		t.Errorf("files %s and %s", certFile, keyFile)
	}
}

func TestLoadCertificate_ReportsFaultsByKey(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir, "server", newECDSAKey(t))
	c := NewConfig()
	c.SetBaseDir(dir)
	if err := c.LoadJSON([]byte(`{"ssl_cert_file": "server.crt", "ssl_key_file": "server.key"}`)); err != nil {
		t.Fatal(err)
	}
	writeCertificate(t, dir, "other", newECDSAKey(t))
	if err := os.Rename(filepath.Join(dir, "other.key"), filepath.Join(dir, "server.key")); err != nil {
		t.Fatal(err)
	}
	cert, err := c.LoadCertificate()
	if cert != nil || err == nil || !strings.HasPrefix(err.Error(), "api.pinsvcapi.ssl_cert_file: and ssl_key_file ") {
		t.Errorf("got %v, %v", cert, err)
	}
	if err := os.Remove(filepath.Join(dir, "server.key")); err != nil {
		t.Fatal(err)
	}
	if cert, err = c.LoadCertificate(); cert != nil || err == nil || !strings.HasPrefix(err.Error(), "api.pinsvcapi.ssl_key_file: cannot be read: ") {
		t.Errorf("got %v, %v", cert, err)
	}
}

func TestLoadCertificate_WithoutFilesIsNil(t *testing.T) {
	if cert, err := defaults(t).LoadCertificate(); cert != nil || err != nil {
		t.Errorf("got %v, %v", cert, err)
	}
}
