package plan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// Keyring finds the signer of an SSH key file as ssh-keygen -Y sign does: an
// unprotected private key signs by itself, everything else through the agent,
// which asks for pass phrases and touches hardware keys.
type Keyring struct {
	Agent string // path of the agent's socket; "" when there is none
}

// Signer returns the signer of a private or public key file, and what to close
// after the last signature.
func (k Keyring) Signer(ctx context.Context, path string) (ssh.Signer, io.Closer, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	signer, err := ssh.ParsePrivateKey(content)
	if err == nil {
		return signer, io.NopCloser(nil), nil
	}
	public, cause := publicKey(path, content, err)
	if cause != nil {
		return nil, nil, cause
	}
	return k.fromAgent(ctx, public)
}

// publicKey is the key to ask the agent for: the file's own, or that of a
// private key which only the agent can use.
func publicKey(path string, content []byte, private error) (ssh.PublicKey, error) {
	if key, _, _, _, err := ssh.ParseAuthorizedKey(content); err == nil {
		return key, nil
	}
	var locked *ssh.PassphraseMissingError
	if errors.As(private, &locked) && locked.PublicKey != nil {
		return locked.PublicKey, nil
	}
	beside, err := os.ReadFile(strings.TrimSuffix(path, ".pub") + ".pub")
	if err != nil {
		return nil, private
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(beside)
	if err != nil {
		return nil, private
	}
	return key, nil
}

func (k Keyring) fromAgent(ctx context.Context, key ssh.PublicKey) (ssh.Signer, io.Closer, error) {
	if k.Agent == "" {
		return nil, nil, fmt.Errorf("key %s needs an agent (SSH_AUTH_SOCK is not set)", ssh.FingerprintSHA256(key))
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", k.Agent)
	if err != nil {
		return nil, nil, fmt.Errorf("reach the agent: %w", err)
	}
	signers, err := agent.NewClient(conn).Signers()
	for _, signer := range signers {
		if bytes.Equal(signer.PublicKey().Marshal(), key.Marshal()) {
			return signer, conn, nil
		}
	}
	if err == nil {
		err = fmt.Errorf("the agent does not hold key %s", ssh.FingerprintSHA256(key))
	}
	return nil, nil, errors.Join(err, conn.Close())
}
