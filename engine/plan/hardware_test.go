package plan

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math/big"
	"testing"

	"golang.org/x/crypto/ssh"
)

// hardware signs as a FIDO key behind an agent does: not the message, but its
// digest with the application, flags and a counter, which ride behind the
// signature.
type hardware struct {
	key    ssh.PublicKey
	format string
	sign   func(message []byte) []byte // blob
}

const application = "ssh:"

func (h hardware) PublicKey() ssh.PublicKey { return h.key }

func (h hardware) Sign(_ io.Reader, data []byte) (*ssh.Signature, error) {
	const touched, counter = 0x01, 7
	app, digest := sha256.Sum256([]byte(application)), sha256.Sum256(data)
	rest := binary.BigEndian.AppendUint32([]byte{touched}, counter)
	message := append(append(app[:], rest...), digest[:]...)
	return &ssh.Signature{Format: h.format, Blob: h.sign(message), Rest: rest}, nil
}

func hardwareEd25519(t *testing.T) hardware {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := parsedKey(t, ssh.Marshal(struct {
		Name        string
		Key         []byte
		Application string
	}{ssh.KeyAlgoSKED25519, public, application}))
	return hardware{key, ssh.KeyAlgoSKED25519, func(message []byte) []byte { return ed25519.Sign(private, message) }}
}

func hardwareECDSA(t *testing.T) hardware {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	key := parsedKey(t, ssh.Marshal(struct {
		Name, ID    string
		Key         []byte
		Application string
	}{ssh.KeyAlgoSKECDSA256, "nistp256", point, application}))
	return hardware{key, ssh.KeyAlgoSKECDSA256, func(message []byte) []byte {
		digest := sha256.Sum256(message)
		r, s, err := ecdsa.Sign(rand.Reader, private, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		return ssh.Marshal(struct{ R, S *big.Int }{r, s})
	}}
}

func parsedKey(t *testing.T, wire []byte) ssh.PublicKey {
	t.Helper()
	key, err := ssh.ParsePublicKey(wire)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestHardwareKeys(t *testing.T) {
	t.Parallel()
	for _, h := range []hardware{hardwareEd25519(t), hardwareECDSA(t)} {
		t.Run(h.format, func(t *testing.T) {
			payload := []byte("a statement")
			armored, err := Sign(payload, Namespace, h)
			if err != nil {
				t.Fatal(err)
			}
			key, err := verifySignature(payload, armored)
			if err != nil || ssh.FingerprintSHA256(key) != ssh.FingerprintSHA256(h.key) {
				t.Fatalf("key %v, %v", key, err)
			}
			if _, err := verifySignature([]byte("another statement"), armored); err == nil {
				t.Error("it verifies for another statement")
			}
			signers, err := ParseSigners([]byte("alice@example.com " + string(ssh.MarshalAuthorizedKey(h.key))))
			if err != nil {
				t.Fatal(err)
			}
			if signers == nil {
				t.Error("no signers")
			}
		})
	}
}
