package eval

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing/fstest"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/keys"

	"patrol/engine"
)

// maxBundle bounds each file of a bundle.
const maxBundle = 16 << 20

// OpenBundle reads an OPA bundle (a tar.gz file) as a pack. With a public key
// (PEM) the bundle must be signed by it, each file included; without one a
// signature is not looked at. Bundles hold Rego only for patrol: data in them
// is an error, since policies have no data.
func OpenBundle(path string, publicKey []byte) (Pack, error) {
	pack, err := readBundle(path, publicKey)
	if err != nil {
		return Pack{}, &engine.Error{
			Class: engine.ClassUsage, Reason: "bundle", Op: "read policy bundle", Target: path,
			Hint: "Build it by `opa build --bundle DIR`, sign it by `opa sign`, and give the matching public key.", Err: err,
		}
	}
	return pack, nil
}

func readBundle(path string, publicKey []byte) (Pack, error) {
	file, err := os.Open(path)
	if err != nil {
		return Pack{}, err
	}
	defer file.Close()
	reader := bundle.NewReader(file).WithSizeLimitBytes(maxBundle).WithRegoVersion(ast.RegoV1).
		WithCapabilities(capabilities()).WithBundleName(path)
	if publicKey == nil {
		reader = reader.WithSkipBundleVerification(true)
	} else {
		config, err := verification(publicKey)
		if err != nil {
			return Pack{}, err
		}
		reader = reader.WithBundleVerificationConfig(config) // which also refuses a bundle that is not signed
	}
	read, err := reader.Read()
	if err != nil {
		return Pack{}, err
	}
	return packOf(path, read)
}

func packOf(path string, read bundle.Bundle) (Pack, error) {
	if len(read.Data) > 0 {
		return Pack{}, fmt.Errorf("holds data (%s), which policies cannot use", strings.Join(engine.SortedKeys(read.Data), ", "))
	}
	files := fstest.MapFS{}
	for _, module := range read.Modules {
		files[strings.TrimLeft(module.Path, "/")] = &fstest.MapFile{Data: module.Raw, Mode: 0o400}
	}
	return Pack{Name: path, FS: files}, nil
}

// keyID is the id that our configuration gives to the one key there is; the
// signature may name any.
const keyID = "patrol"

func verification(publicKey []byte) (*bundle.VerificationConfig, error) {
	algorithm, err := algorithmOf(publicKey)
	if err != nil {
		return nil, err
	}
	key, err := keys.NewKeyConfig(string(publicKey), algorithm, "")
	if err != nil {
		return nil, err
	}
	return bundle.NewVerificationConfig(map[string]*bundle.KeyConfig{keyID: key}, keyID, "", nil), nil
}

func algorithmOf(publicKey []byte) (string, error) {
	block, _ := pem.Decode(publicKey)
	if block == nil {
		return "", errors.New("the public key is not PEM")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("parse public key: %w", err)
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		return "RS256", nil
	case *ecdsa.PublicKey:
		return fmt.Sprintf("ES%d", map[int]int{256: 256, 384: 384, 521: 512}[key.Params().BitSize]), nil
	}
	return "", fmt.Errorf("the public key is of type %T; want RSA or ECDSA", key)
}
