package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"patrol/engine"
	"patrol/engine/notice"
	"patrol/reports/deliver"
)

// Receiver gets a message about each run. Its secrets stand in the environment.
type Receiver struct {
	Name           string          `yaml:"name" doc:"What messages and the record call it"`
	Type           string          `yaml:"type" one_of:"slack,teams,webhook" doc:"What kind of address it is"`
	URLVariable    string          `yaml:"url_env" doc:"Environment variable that holds the address (https)"`
	SecretVariable string          `yaml:"secret_env" doc:"Environment variable that holds the secret which signs what a webhook gets"`
	When           string          `yaml:"when" one_of:"always,new" doc:"new: only where there is a new finding or the audit is incomplete"`
	MinSeverity    engine.Severity `yaml:"min_severity" doc:"New findings of this severity or worse are named (info)"`
}

// Tickets say what --tickets writes.
type Tickets struct {
	Template    string          `yaml:"template" doc:"Go template of a ticket as JSON; docs/delivery.md has some"`
	MinSeverity engine.Severity `yaml:"min_severity" doc:"Findings of this severity or worse become tickets (info)"`
}

func (f *File) checkDelivery() {
	names := map[string]bool{}
	for i, r := range f.Notify {
		key := fmt.Sprintf("notify[%d]", i)
		switch {
		case r.Name == "" || r.Type == "" || r.URLVariable == "":
			f.source.Wrong(key, "want name, type and url_env")
		case names[r.Name]:
			f.source.Wrong(key+".name", "%q is the name of another receiver", r.Name)
		case r.SecretVariable != "" && r.Type != "webhook":
			f.source.Wrong(key+".secret_env", "only what a webhook gets is signed")
		}
		names[r.Name] = true
	}
	if _, err := deliver.ParseTicket(f.Tickets.Template); err != nil {
		f.source.Wrong("tickets.template", "%v", err)
	}
}

// Receivers are those of the file, with their secrets from the environment.
func (f *File) Receivers(lookup func(string) (string, bool)) ([]deliver.Receiver, error) {
	var list []deliver.Receiver
	for i, r := range f.Notify {
		receiver := deliver.Receiver{Name: r.Name, Type: r.Type}
		for _, v := range []struct {
			variable string
			value    *string
		}{{r.URLVariable, &receiver.URL}, {r.SecretVariable, &receiver.Secret}} {
			if v.variable == "" {
				continue
			}
			if *v.value, _ = lookup(v.variable); *v.value == "" {
				return nil, engine.UsageError("notify", r.Name, "Set "+v.variable+", or give --no-notify.", errors.New(v.variable+" is not set"))
			}
		}
		if err := receiver.Check(); err != nil {
			return nil, engine.UsageError("notify", r.Name, "Have "+r.URLVariable+" hold an https address.", fmt.Errorf("%s (%s): %w", r.URLVariable, f.Place(fmt.Sprintf("notify[%d]", i)), err))
		}
		list = append(list, receiver)
	}
	return list, nil
}

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

// MailServer is the mail server of the file, with its password from elsewhere.
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
