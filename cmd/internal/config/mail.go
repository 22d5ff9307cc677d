package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"patrol/engine"
	"patrol/engine/notice"
)

// PasswordVariable holds the mail server's password where no file does.
const PasswordVariable = "PATROL_SMTP_PASSWORD"

// SMTP is the mail server for notices.
type SMTP struct {
	Server       string `yaml:"server" doc:"host:port"`
	Security     string `yaml:"security" one_of:"starttls,tls,none" doc:"How the connection is protected"`
	From         string `yaml:"from" doc:"Address of the sender"`
	Username     string `yaml:"username" doc:"Who signs in; without one nobody does"`
	PasswordFile string `yaml:"password_file" doc:"File with the password alone; PATROL_SMTP_PASSWORD holds it otherwise"`
	CAFile       string `yaml:"ca_file" doc:"PEM file of authorities to trust"`
}

// MailServer is the mail server with what must not stand in the file.
func (f *File) MailServer(lookup func(string) (string, bool)) (notice.Server, error) {
	s := f.Notices.SMTP
	if s == nil {
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

func (s *SMTP) password(lookup func(string) (string, bool)) (string, error) {
	if s.PasswordFile == "" {
		if password, set := lookup(PasswordVariable); set && password != "" {
			return password, nil
		}
		return "", engine.UsageError("sign in to", s.Server, "Set "+PasswordVariable+", or notices.smtp.password_file.", fmt.Errorf("there is no password for %s", s.Username))
	}
	content, err := os.ReadFile(s.PasswordFile)
	if err != nil {
		return "", engine.UsageError("read password", s.PasswordFile, "notices.smtp.password_file names a file with the password alone.", err)
	}
	return strings.TrimRight(string(content), "\r\n"), nil
}
