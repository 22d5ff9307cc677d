package plan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
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
	err = sshsig.Verify(bytes.NewReader(payload), signature, signature.PublicKey, signature.HashAlgorithm, namespace)
	return signature.PublicKey, err
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
	signer, private := ssh.ParsePrivateKey(content)
	if private == nil {
		return signer, io.NopCloser(nil), nil
	}
	// The key to ask the agent for is the file's own, or that of a private key which only the agent can use.
	key, _, _, _, err := ssh.ParseAuthorizedKey(content)
	if err != nil {
		var locked *ssh.PassphraseMissingError
		if errors.As(private, &locked) && locked.PublicKey != nil {
			key = locked.PublicKey
		} else {
			beside, err := os.ReadFile(strings.TrimSuffix(path, ".pub") + ".pub")
			if err != nil {
				return nil, nil, private
			}
			if key, _, _, _, err = ssh.ParseAuthorizedKey(beside); err != nil {
				return nil, nil, private
			}
		}
	}
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

// Signers says whose signatures count: an allowed_signers file as ssh-keygen(1)
// describes it.
type Signers struct{ list []allowed }

// allowed is one line of the file.
type allowed struct {
	line       int
	principals []string // patterns
	namespaces []string // patterns; none allows all
	after      time.Time
	before     time.Time
	key        ssh.PublicKey
}

// ParseSigners reads an allowed_signers file. A line that it does not fully
// understand is an error: a restriction must not be overlooked.
func ParseSigners(content []byte) (*Signers, error) {
	s := &Signers{}
	for i, line := range bytes.Split(content, []byte("\n")) {
		text := strings.TrimSpace(string(line))
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		one, err := parseAllowed(text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		one.line = i + 1
		s.list = append(s.list, one)
	}
	if len(s.list) == 0 {
		return nil, errors.New("names no signer")
	}
	return s, nil
}

func parseAllowed(text string) (one allowed, err error) {
	end := strings.IndexAny(text, " \t")
	names, rest := text[:max(end, 0)], text[max(end, 0):]
	if quoted, found := strings.CutPrefix(text, `"`); found {
		if names, rest, found = strings.Cut(quoted, `"`); !found {
			return one, errors.New("a quote is not closed")
		}
	} else if end < 0 {
		return one, errors.New("no key after the principals")
	}
	one.principals = strings.Split(names, ",")
	if slices.Contains(one.principals, "") {
		return one, errors.New("a principal is empty")
	}
	key, _, options, more, err := ssh.ParseAuthorizedKey([]byte(strings.TrimSpace(rest)))
	switch {
	case err != nil:
		return one, fmt.Errorf("no key after the principals: %w", err)
	case len(bytes.TrimSpace(more)) > 0:
		return one, errors.New("more than one key")
	case strings.Contains(key.Type(), "-cert-"):
		return one, errors.New("a certificate is no key: name the key itself")
	}
	one.key = key
	for _, option := range options {
		name, value, _ := strings.Cut(option, "=")
		value = strings.Trim(value, `"`)
		switch strings.ToLower(name) {
		case "cert-authority":
			err = errors.New("cert-authority is not supported: name each signer's own key")
		case "namespaces":
			one.namespaces = strings.Split(value, ",")
		case "valid-after":
			one.after, err = parseStamp(value)
		case "valid-before":
			one.before, err = parseStamp(value)
		default:
			err = fmt.Errorf("option %q is not known", option)
		}
		if err != nil {
			return one, err
		}
	}
	return one, nil
}

// parseStamp reads YYYYMMDD[HHMM[SS]][Z]. Without a Z ssh-keygen takes the
// machine's time zone; patrol takes UTC, so that all machines agree.
func parseStamp(text string) (time.Time, error) {
	digits := strings.TrimSuffix(text, "Z")
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(digits) == len(layout) {
			if t, err := time.Parse(layout, digits); err == nil {
				return t, nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time such as 20261124 or 202611241200Z", text)
}

// MaySignRuns tells whom a key that signed the digests of a run stands for at a
// moment, as the file names them.
func (s *Signers) MaySignRuns(key ssh.PublicKey, now time.Time) (who string, err error) {
	return s.permit(RunNamespace, "", key, now)
}

// permit tells whom a key stands for that may sign in a namespace at a moment, as
// a principal unless that is "", or why it may not.
func (s *Signers) permit(namespace, principal string, key ssh.PublicKey, now time.Time) (who string, err error) {
	err = errors.New("allowed_signers does not list the key")
	for _, one := range s.list {
		if !bytes.Equal(one.key.Marshal(), key.Marshal()) {
			continue
		}
		why := ""
		switch {
		case principal != "" && !matches(one.principals, principal):
			why = fmt.Sprintf("the key is not that of %q", principal)
		case one.namespaces != nil && !matches(one.namespaces, namespace):
			why = "the key may not sign in namespace " + namespace
		case !one.after.IsZero() && now.Before(one.after):
			why = "the key is not valid yet"
		case !one.before.IsZero() && !now.Before(one.before):
			why = "the key is not valid any more"
		default:
			return strings.Join(one.principals, ","), nil
		}
		err = fmt.Errorf("allowed_signers, line %d: %s", one.line, why)
	}
	return "", err
}

// matches holds when a pattern matches and none that begins with ! does. * and ? are as
// in ssh; everything else stands for itself.
func matches(patterns []string, text string) bool {
	// A slash separates nothing here; path.Match must not see one.
	harmless := strings.NewReplacer(`\`, `\\`, `[`, `\[`, "/", "\x00")
	found := false
	for _, pattern := range patterns {
		wanted, negated := strings.CutPrefix(pattern, "!")
		if ok, err := path.Match(harmless.Replace(wanted), strings.ReplaceAll(text, "/", "\x00")); err != nil || !ok {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}

// ownedBy reports whether the file lists the key for that person.
func (s *Signers) ownedBy(key ssh.PublicKey, person string) bool {
	return slices.ContainsFunc(s.list, func(one allowed) bool {
		return bytes.Equal(one.key.Marshal(), key.Marshal()) && slices.ContainsFunc(one.principals, func(name string) bool { return samePerson(name, person) })
	})
}

// Principal is whom a key stands for, when the file says so without patterns
// and only once.
func (s *Signers) Principal(key ssh.PublicKey) (string, bool) {
	var found []string
	for _, one := range s.list {
		if bytes.Equal(one.key.Marshal(), key.Marshal()) {
			found = append(found, one.principals...)
		}
	}
	if len(found) != 1 || strings.ContainsAny(found[0], "*?!") {
		return "", false
	}
	return found[0], true
}
