package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"patrol/engine"
	"patrol/engine/notice"

	"github.com/goccy/go-yaml/ast"
)

// passwordVariable holds the mail server's password where no file does.
const passwordVariable = "PATROL_SMTP_PASSWORD"

// smtpConfig is the mail server for notices; without one nothing is sent.
type smtpConfig struct {
	Server       string `yaml:"server"`
	Security     string `yaml:"security"`
	From         string `yaml:"from"`
	Username     string `yaml:"username"`
	PasswordFile string `yaml:"password_file"`
	CAFile       string `yaml:"ca_file"`

	line int
}

func (c *config) readNotices(node ast.Node) error {
	return c.eachKey(node, "notices", func(key string, value ast.Node, line int) error {
		if key != "smtp" {
			return c.errorf(line, "unknown key %q: want smtp", key)
		}
		s := smtpConfig{Security: notice.StartTLS, line: line}
		if err := c.decode(value, &s); err != nil {
			return err
		}
		if !slices.Contains(notice.Securities(), s.Security) {
			return c.errorf(line, "security is %q: want one of %s", s.Security, strings.Join(notice.Securities(), ", "))
		}
		if err := (notice.Server{Address: s.Server, Security: s.Security, From: s.From}).Check(); err != nil {
			return c.errorf(line, "smtp: %v", err)
		}
		c.smtp = s
		return nil
	})
}

// server is the mail server with what must not stand in the configuration.
func (s smtpConfig) server(lookup func(string) (string, bool)) (notice.Server, error) {
	if s.Server == "" {
		return notice.Server{}, engine.UsageError("send notices", "", "Name a mail server under notices.smtp in patrol.yaml, or send the files yourself.", errors.New("no mail server is configured"))
	}
	server := notice.Server{Address: s.Server, Security: s.Security, From: s.From, Username: s.Username}
	if s.Username != "" {
		password, err := s.password(lookup)
		if err != nil {
			return server, err
		}
		server.Password = password
	}
	if s.CAFile == "" {
		return server, nil
	}
	content, err := os.ReadFile(s.CAFile)
	server.Roots = x509.NewCertPool()
	if err == nil && !server.Roots.AppendCertsFromPEM(content) {
		err = errors.New("it holds no certificate")
	}
	if err != nil {
		return server, engine.UsageError("read authorities", s.CAFile, "notices.smtp.ca_file is a PEM file.", err)
	}
	return server, nil
}

func (s smtpConfig) password(lookup func(string) (string, bool)) (string, error) {
	if s.PasswordFile == "" {
		if password, set := lookup(passwordVariable); set && password != "" {
			return password, nil
		}
		return "", engine.UsageError("sign in to", s.Server, "Set "+passwordVariable+", or notices.smtp.password_file.", fmt.Errorf("there is no password for %s", s.Username))
	}
	content, err := os.ReadFile(s.PasswordFile)
	if err != nil {
		return "", engine.UsageError("read password", s.PasswordFile, "notices.smtp.password_file names a file with the password alone.", err)
	}
	return strings.TrimRight(string(content), "\r\n"), nil
}
