package bus

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func TestBeyondThisMachineABusIsSecured(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"bus.example"}, IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	who := &people{list: map[string][]string{"here": {hereArea}}}
	// As a node has it, whose certificate can change under way.
	pair := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	config := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair, nil }, MinVersion: tls.VersionTLS12}
	s, _ := open(t, Options{Listen: "0.0.0.0:0", TLS: config, Principals: who}) // which connects in the process
	_, port, err := net.SplitHostPort(s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	user := nats.UserInfo("here", "here-token")
	nc, err := nats.Connect("tls://127.0.0.1:"+port, user, nats.Secure(&tls.Config{RootCAs: pool, ServerName: "bus.example"}))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if state, err := nc.TLSConnectionState(); err != nil || !state.HandshakeComplete {
		t.Errorf("%+v, %v; want a secured connection", state, err)
	}
	if clear, err := net.DialTimeout("tcp", "127.0.0.1:"+port, within); err != nil {
		t.Error(err)
	} else {
		defer clear.Close()
		if _, err := clear.Write([]byte("CONNECT {\"verbose\":true,\"user\":\"here\",\"pass\":\"here-token\"}\r\nPING\r\n")); err != nil {
			t.Fatal(err)
		}
		_ = clear.SetReadDeadline(time.Now().Add(within))
		buf, n := make([]byte, 64<<10), 0
		for {
			m, err := clear.Read(buf[n:])
			if n += m; err != nil {
				break
			}
		}
		if said := string(buf[:n]); strings.Contains(said, "PONG") {
			t.Errorf("it answers in clear: %s", said)
		}
	}
}
