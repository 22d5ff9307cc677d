package plan

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// Sign signs a statement's bytes as `ssh-keygen -Y sign` does.
func Sign(payload []byte, signer ssh.Signer) (string, error) {
	signature, err := sshsig.Sign(bytes.NewReader(payload), signer, sshsig.HashSHA512, Namespace)
	if err != nil {
		return "", fmt.Errorf("sign with key %s: %w", ssh.FingerprintSHA256(signer.PublicKey()), err)
	}
	return string(sshsig.Armor(signature)), nil
}

// normalSignature gives a signature the one form in which it is kept.
func normalSignature(armored string) (clean, key string, err error) {
	signature, err := sshsig.Unarmor([]byte(armored))
	if err != nil {
		return "", "", refused("bad_signature", "read signature", "Give the file that `ssh-keygen -Y sign` wrote.", err)
	}
	return string(sshsig.Armor(signature)), ssh.FingerprintSHA256(signature.PublicKey), nil
}

// verifySignature returns the key that signed the payload.
func verifySignature(payload []byte, armored string) (ssh.PublicKey, error) {
	signature, err := sshsig.Unarmor([]byte(armored))
	if err != nil {
		return nil, err
	}
	if string(sshsig.Armor(signature)) != armored {
		return nil, errors.New("the signature is not written as patrol writes it")
	}
	err = sshsig.Verify(bytes.NewReader(payload), signature, signature.PublicKey, signature.HashAlgorithm, Namespace)
	return signature.PublicKey, err
}
