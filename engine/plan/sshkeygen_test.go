package plan_test

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"patrol/engine/plan"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// keygen runs ssh-keygen, the other party to every signature here.
func keygen(t *testing.T, stdin []byte, args ...string) ([]byte, error) {
	t.Helper()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("ssh-keygen is not installed: signatures are not checked against it")
	}
	cmd := exec.Command("ssh-keygen", args...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("ssh-keygen %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return out, err
}

func write(t *testing.T, path string, content []byte) string {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// kinds of keys that people have; a hardware key needs hardware.
var kinds = map[string][]string{"ed25519": {"-t", "ed25519"}, "rsa": {"-t", "rsa", "-b", "2048"}, "ecdsa": {"-t", "ecdsa", "-b", "384"}}

func newKey(t *testing.T, kind []string, passphrase string) (path, public string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "key")
	if _, err := keygen(t, nil, append(kind, "-q", "-N", passphrase, "-C", "test", "-f", path)...); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return path, strings.TrimSpace(string(content))
}

// TestSSHKeygenAcceptsOurSignatures signs here and verifies there.
func TestSSHKeygenAcceptsOurSignatures(t *testing.T) {
	t.Parallel()
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			path, public := newKey(t, kind, "")
			key, closer, err := plan.Keyring{}.Signer(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			defer closer.Close()
			s := newStory(t)
			s.say("alice@example.com", key, nil)
			entries, err := plan.Entries(s.file)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			signature := write(t, filepath.Join(dir, "sig"), []byte(entries[0].Signature))
			allowed := write(t, filepath.Join(dir, "allowed"), []byte("alice@example.com "+public+"\n"))
			args := []string{"-Y", "verify", "-n", plan.Namespace, "-f", allowed, "-I", "alice@example.com", "-s", signature}
			if _, err := keygen(t, entries[0].Payload, args...); err != nil {
				t.Error(err)
			}
			if _, err := keygen(t, append(entries[0].Payload, ' '), args...); err == nil {
				t.Error("ssh-keygen accepts the signature of something else")
			}
		})
	}
}

// TestOurVerifierAcceptsSSHKeygen signs there and verifies here.
func TestOurVerifierAcceptsSSHKeygen(t *testing.T) {
	t.Parallel()
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			path, public := newKey(t, kind, "")
			for namespace, reason := range map[string]string{plan.Namespace: "", "file": "bad_signature"} {
				s := newStory(t)
				s.say("alice@example.com", nil, nil)
				entries, _ := plan.Entries(s.file)
				signature, err := keygen(t, entries[0].Payload, "-q", "-Y", "sign", "-n", namespace, "-f", path)
				if err != nil {
					t.Fatal(err)
				}
				block, _ := pem.Decode(signature)
				if block == nil {
					t.Fatalf("no signature: %s", signature)
				}
				if s.file, err = plan.Append(nil, entries[0].Payload, string(pem.EncodeToMemory(block))); err != nil {
					t.Fatal(err)
				}
				_, err = s.verify(plan.Trust{Signers: signers(t, "alice@example.com "+public), PlannerMayApprove: true})
				if reason != "" {
					refusal(t, err, reason)
				} else if err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestAgentSigns: keys with a pass phrase and .pub files sign by the agent.
func TestAgentSigns(t *testing.T) {
	t.Parallel()
	path, public := newKey(t, kinds["ed25519"], "a pass phrase")
	if _, _, err := (plan.Keyring{}).Signer(t.Context(), path); err == nil || !strings.Contains(err.Error(), "SSH_AUTH_SOCK") {
		t.Errorf("without an agent: %v", err)
	}
	content, _ := os.ReadFile(path)
	private, err := ssh.ParseRawPrivateKeyWithPassphrase(content, []byte("a pass phrase"))
	if err != nil {
		t.Fatal(err)
	}
	socket := serveAgent(t, private)
	for _, file := range []string{path, path + ".pub"} {
		key, closer, err := plan.Keyring{Agent: socket}.Signer(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		s := newStory(t)
		s.say("alice", key, nil)
		closer.Close()
		if _, err := s.verify(plan.Trust{Signers: signers(t, "alice "+public), PlannerMayApprove: true}); err != nil {
			t.Error(err)
		}
	}
	other, _ := newKey(t, kinds["ed25519"], "another")
	if _, _, err := (plan.Keyring{Agent: socket}).Signer(t.Context(), other); err == nil || !strings.Contains(err.Error(), "does not hold key") {
		t.Errorf("a key that the agent lacks: %v", err)
	}
}

func serveAgent(t *testing.T, private any) string {
	t.Helper()
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "agent")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Skipf("no unix sockets here: %v", err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(ring, conn) }()
		}
	}()
	return socket
}

func TestNoKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, _, err := (plan.Keyring{}).Signer(t.Context(), filepath.Join(dir, "none")); !os.IsNotExist(err) {
		t.Errorf("missing file: %v", err)
	}
	if _, _, err := (plan.Keyring{}).Signer(t.Context(), write(t, filepath.Join(dir, "text"), []byte("hello"))); err == nil {
		t.Error("a text signs")
	}
}
