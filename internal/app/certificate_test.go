package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// writePair makes a certificate of its own that ends then, and writes it or its key, as names say.
func writePair(t *testing.T, ends time.Time, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: ends}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "EC PRIVATE KEY", Bytes: secret}} {
		// Put in place whole, as secrets are: a new file each time.
		if err := os.WriteFile(name+".new", pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name+".new", name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestARenewedCertificateIsShownWithoutARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key, other := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), filepath.Join(dir, "other.key")
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	first, second := now.AddDate(0, 0, 30), now.AddDate(0, 0, 90)
	writePair(t, first, cert, key)
	var faults []error
	c, err := openCertificate(cert, key, func() time.Time { return now }, func(err error) { faults = append(faults, err) })
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(c.expiry())
	ends := func() time.Time {
		t.Helper()
		shown, err := c.forCall(nil)
		if err != nil {
			t.Fatal(err)
		}
		told, err := registry.Gather()
		if err != nil || len(told) != 1 {
			t.Fatalf("got %v, %v", told, err)
		}
		if at := time.Unix(int64(told[0].GetMetric()[0].GetGauge().GetValue()), 0); !at.Equal(shown.Leaf.NotAfter) {
			t.Errorf("shown until %v, told %v", shown.Leaf.NotAfter, at)
		}
		return shown.Leaf.NotAfter
	}
	if got := ends(); !got.Equal(first) {
		t.Errorf("got %v, want %v", got, first)
	}

	// Only half of the new pair is there.
	writePair(t, second, cert, other)
	now = now.Add(2 * lookApart)
	if got := ends(); !got.Equal(first) || len(faults) != 1 {
		t.Errorf("got %v and %v, want %v and one fault", got, faults, first)
	}
	if err := os.Rename(other, key); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * lookApart)
	if got := ends(); !got.Equal(second) || len(faults) != 1 {
		t.Errorf("got %v and %v, want %v", got, faults, second)
	}

	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * lookApart)
	if got := ends(); !got.Equal(second) || len(faults) != 2 {
		t.Errorf("got %v and %v, want %v and another fault", got, faults, second)
	}
	if _, err := openCertificate(cert, key, time.Now, nil); err == nil {
		t.Error("a key that is not there is no fault at the start")
	}
}
