package policy

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing/fstest"

	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/keys"
	"github.com/open-policy-agent/opa/v1/util"

	"patrol/engine"
)

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

func readBundle(name string, publicKey []byte) (Pack, error) {
	if err := ownName(name); err != nil {
		return Pack{}, err
	}
	files, err := unpack(name)
	if err != nil {
		return Pack{}, err
	}
	if publicKey != nil {
		if err := verify(files, publicKey); err != nil {
			return Pack{}, err
		}
	}
	pack := fstest.MapFS{}
	for _, file := range engine.SortedKeys(files) {
		switch path.Base(file) {
		case "data.json", "data.yaml", "data.yml":
			var data map[string]any
			if err := util.Unmarshal(files[file], &data); err != nil || len(data) > 0 || path.Dir(file) != "." {
				return Pack{}, fmt.Errorf("holds data (%s), which policies cannot use", cmp.Or(strings.Join(engine.SortedKeys(data), ", "), file))
			}
		default:
			if ofPack(file) {
				pack[file] = &fstest.MapFile{Data: files[file], Mode: 0o400}
			}
		}
	}
	return Pack{Name: name, FS: pack}, nil
}

// unpack holds the files of a bundle in memory, within the bounds of a pack.
func unpack(name string) (map[string][]byte, error) {
	root, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	packed, err := readRegular(root, filepath.Base(name), maxPack)
	if err != nil {
		return nil, err
	}
	plain, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	bounded := &io.LimitedReader{R: plain, N: 2 * maxPack} // with the headers of all its files
	files, total := map[string][]byte{}, 0
	for archive := tar.NewReader(bounded); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if bounded.N <= 0 {
			return nil, fmt.Errorf("more than %d MiB unpacked", maxPack>>20)
		}
		if err != nil {
			return nil, err
		}
		file := strings.TrimPrefix(path.Clean("/"+header.Name), "/")
		switch {
		case header.Typeflag == tar.TypeDir:
			continue
		case header.Typeflag != tar.TypeReg:
			return nil, fmt.Errorf("%s: is no regular file", engine.SafeText(file))
		case engine.SafeText(file) != file:
			return nil, fmt.Errorf("%s: the name holds characters that are not seen", engine.SafeText(file))
		case files[file] != nil:
			return nil, fmt.Errorf("%s: is in it twice", file)
		}
		text, err := io.ReadAll(io.LimitReader(archive, maxFile+1))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if len(text) > maxFile {
			return nil, fmt.Errorf("%s: %w", file, errTooLarge)
		}
		if total += len(text); total > maxPack || len(files) >= maxFiles {
			return nil, fmt.Errorf("more than %d MiB or %d files", maxPack>>20, maxFiles)
		}
		files[file] = append([]byte{}, text...)
	}
}

// verify holds each file against the signature, before any of them is looked into.
func verify(files map[string][]byte, publicKey []byte) error {
	block, _ := pem.Decode(publicKey)
	if block == nil {
		return errors.New("the public key is not PEM")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return fmt.Errorf("parse public key: %w", err)
	}
	algorithm := "RS256"
	switch key := parsed.(type) {
	case *rsa.PublicKey:
	case *ecdsa.PublicKey:
		algorithm = fmt.Sprintf("ES%d", map[int]int{256: 256, 384: 384, 521: 512}[key.Params().BitSize])
	default:
		return fmt.Errorf("the public key is of type %T; want RSA or ECDSA", key)
	}
	key, err := keys.NewKeyConfig(string(publicKey), algorithm, "")
	if err != nil {
		return err
	}
	const id = "patrol" // of the one key there is, for us; the signature may name any
	config := bundle.NewVerificationConfig(map[string]*bundle.KeyConfig{id: key}, id, "", nil)
	var signatures bundle.SignaturesConfig
	if err := json.Unmarshal(files[".signatures.json"], &signatures); err != nil {
		return fmt.Errorf("it has no signatures that can be read: %w", err)
	}
	signatures.Plugin = "" // whoever signs does not choose how we verify
	listed, err := bundle.VerifyBundleSignature(signatures, config)
	if err != nil {
		return err
	}
	signed := make(map[string]bundle.FileInfo, len(listed))
	for name, info := range listed {
		signed[strings.TrimPrefix(path.Clean("/"+name), "/")] = info
	}
	for _, name := range engine.SortedKeys(files) {
		if name == ".signatures.json" {
			continue
		}
		if err := bundle.VerifyBundleFile(name, *bytes.NewBuffer(files[name]), signed); err != nil {
			return err
		}
	}
	if len(signed) > 0 {
		return fmt.Errorf("files of the signature are missing: %s", strings.Join(engine.SortedKeys(signed), ", "))
	}
	return nil
}
