package main

import (
	"context"
	"errors"
	"os"

	"patrol/engine"
	"patrol/engine/plan"
)

// payload is the statement to keep: that of --statement, else what the flags say.
func (a *app) payload(ctx context.Context, p engine.Plan, content []byte, o *approveOptions) ([]byte, error) {
	if (o.statement == "") != (o.signature == "") {
		return nil, engine.UsageError("read flags", "--statement and --signature", "Give both, or use --sign-key.", errors.New("one is missing"))
	}
	if o.statement == "" {
		statement, err := a.statement(ctx, p, content, o)
		return plan.EncodeStatement(statement), err
	}
	if o.changed("all") || o.changed("step") || o.changed("from") || o.withdraw || o.signKey != "" || o.export != "" {
		return nil, engine.UsageError("read flags", "--statement", "The statement says what is approved: give no other flag with it.", errors.New("cannot be combined"))
	}
	payload, err := readInput("read statement", o.statement)
	if err != nil {
		return nil, err
	}
	if _, err := plan.CheckStatement(payload, content, p); err != nil {
		return nil, on(o.statement, err)
	}
	return payload, nil
}

// signed is the signature under the payload; "" when nobody signs.
func (a *app) signed(ctx context.Context, payload []byte, o *approveOptions) (string, error) {
	if o.signature != "" {
		signature, err := readInput("read signature", o.signature)
		return string(signature), err
	}
	if o.signKey == "" {
		return "", nil
	}
	return a.sign(ctx, o.signKey, plan.Namespace, payload)
}

// sign signs by a key file, or by the agent; without a payload it only looks
// whether it could.
func (a *app) sign(ctx context.Context, key, namespace string, payload []byte) (signature string, err error) {
	socket, _ := a.env.lookup("SSH_AUTH_SOCK")
	signer, closer, err := plan.Keyring{Agent: socket}.Signer(ctx, key)
	if err == nil && payload != nil {
		signature, err = plan.Sign(payload, namespace, signer)
	}
	if err == nil {
		err = closer.Close()
	}
	if err != nil {
		return "", engine.UsageError("sign with", key, "Name a private SSH key, or load it into the agent (`ssh-add`) and name its .pub file.", err)
	}
	return signature, nil
}

func readInput(op, path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, engine.UsageError(op, path, "Name an existing file.", err)
	}
	return content, nil
}

// approver is in whose name the statement is made: as told, else whom the
// signing key stands for, else the user of this machine.
func (a *app) approver(ctx context.Context, o *approveOptions) string {
	if o.by != "" || o.signKey == "" {
		return a.person(o.by)
	}
	trust, err := a.Config.Trust()
	if err != nil || trust.Signers == nil {
		return a.person("")
	}
	socket, _ := a.env.lookup("SSH_AUTH_SOCK")
	signer, closer, err := plan.Keyring{Agent: socket}.Signer(ctx, o.signKey)
	if err != nil {
		return a.person("") // signing tells the error
	}
	defer closer.Close()
	if name, known := trust.Signers.Principal(signer.PublicKey()); known {
		return name
	}
	return a.person("")
}

// exportStatement writes what somebody else's tool is to sign.
func (a *app) exportStatement(path string, payload []byte, o *approveOptions) error {
	if err := plan.Write(o.export, payload); err != nil {
		return err
	}
	a.say("%s: written. Sign and add it:", o.export)
	a.say("  ssh-keygen -Y sign -n %s -f KEY %s", plan.Namespace, o.export)
	a.say("  patrol approve %s --statement %s --signature %s.sig", path, o.export, o.export)
	return nil
}
