package plan

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// Namespaces keep a signature under one kind of content from counting for another.
const (
	Namespace    = "patrol-plan-approval"
	RunNamespace = "patrol-run-digest"
)

// Sign signs bytes as `ssh-keygen -Y sign -n NAMESPACE` does.
func Sign(payload []byte, namespace string, signer ssh.Signer) (string, error) {
	signature, err := sshsig.Sign(bytes.NewReader(payload), signer, sshsig.HashSHA512, namespace)
	if err != nil {
		return "", fmt.Errorf("sign with key %s: %w", ssh.FingerprintSHA256(signer.PublicKey()), err)
	}
	return string(sshsig.Armor(signature)), nil
}

// Signed returns the key that signed the payload, whoever wrote the signature.
func Signed(payload []byte, namespace, armored string) (ssh.PublicKey, error) {
	signature, err := sshsig.Unarmor([]byte(armored))
	if err != nil {
		return nil, err
	}
	return signature.PublicKey, sshsig.Verify(bytes.NewReader(payload), signature, signature.PublicKey, signature.HashAlgorithm, namespace)
}

// normalSignature gives a signature the one form in which it is kept.
func normalSignature(armored string) (clean, key string, err error) {
	signature, err := sshsig.Unarmor([]byte(armored))
	if err != nil {
		return "", "", refused("bad_signature", "read signature", "Give the file that `ssh-keygen -Y sign` wrote.", err)
	}
	return string(sshsig.Armor(signature)), ssh.FingerprintSHA256(signature.PublicKey), nil
}

// verifySignature returns the key that signed a statement; the signature must be
// in the form in which it is kept.
func verifySignature(payload []byte, armored string) (ssh.PublicKey, error) {
	key, err := Signed(payload, Namespace, armored)
	if err != nil {
		return nil, err
	}
	if clean, _, err := normalSignature(armored); err != nil || clean != armored {
		return nil, errors.New("the signature is not written as patrol writes it")
	}
	return key, nil
}
