package collectors

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/databricks/databricks-sdk-go/apierr"
	"github.com/databricks/databricks-sdk-go/config"
	"github.com/databricks/databricks-sdk-go/logger"
	"golang.org/x/oauth2"

	"patrol/engine"
)

// signIn resolves a target by the SDK's unified authentication, proves the credential
// by asking who we are, and refuses an answer from another workspace than was asked
// for. The client is nil if not even a host is known; otherwise it can
// tell what is known of the workspace in spite of a problem.
func signIn(ctx context.Context, t Target, o Options, transport http.RoundTripper) (*Client, *Problem) {
	s := newSigner(t, o, transport)
	s.cfg.Host = t.knownHost()
	if problem := s.resolve(ctx, true); problem != nil {
		return s.client, problem
	}
	header, problem := s.authenticate(ctx)
	if problem != nil {
		return s.client, problem
	}
	c := s.client
	s.session.authType, s.session.scopes = s.cfg.AuthType, scopesOf(s.cfg.AuthType, header.Get("Authorization"))
	s.session.me, s.session.meFault = c.forSection(engine.SectionWorkspace).whoAmI(ctx)
	if fault := s.session.meFault; fault != nil && fault.Fatal() {
		return c, fault
	}
	// A host that serves several workspaces is asked once more, now that it is known
	// which one is meant.
	if who := c.identity(); who.Cloud == "" && who.ID != "" {
		asking := *c
		asking.routeID = who.ID
		if meta, problem := asking.hostMetadata(ctx); problem == nil {
			s.noteMetadata(meta)
		}
	}
	asked, got := cmp.Or(c.routeID, t.WorkspaceID), s.session.me.workspaceID
	if asked == "" || got == "" || asked == got || strings.Trim(asked, "0123456789") != "" {
		return c, nil
	}
	return c, problemOf(reasonWrongWorkspace, "Correct workspace_id or the host in the profile or environment.",
		"asked for workspace %s, workspace %s answered", engine.SafeText(asked), engine.SafeText(got))
}

// Check finds what is wrong with the configuration of targets, without sending
// anything: who reads several workspaces learns of a misspelt profile before
// the first of them is read. It gives an *engine.Error of ClassUsage.
func Check(ctx context.Context, targets []Target, o Options) error {
	for _, t := range targets {
		if t.Unreadable != "" {
			continue // nobody will ask it
		}
		s := newSigner(t, o.withDefaults(), nil)
		s.cfg.Host = t.knownHost()
		if problem := s.resolve(ctx, false); problem != nil && problem.class() == engine.ClassUsage {
			return problem.error("collect", t.Label())
		}
	}
	return nil
}

// silenceSDK takes the SDK's logger away: at debug level, which others may
// switch on, it prints credentials. The SDK has no other place to say so.
var silenceSDK = sync.OnceFunc(func() { logger.DefaultLogger = &logger.SimpleLogger{Level: math.MaxInt} })

// signer builds a client step by step.
type signer struct {
	target    Target
	o         Options
	transport http.RoundTripper
	session   *session
	cfg       *config.Config
	client    *Client
}

func newSigner(t Target, o Options, transport http.RoundTripper) *signer {
	silenceSDK()
	return &signer{target: t, o: o, transport: transport, session: &session{}, cfg: &config.Config{
		Profile: t.Profile, ConfigFile: t.ConfigFile, Loaders: loaders(t), HTTPTransport: signInTransport{transport, o.UserAgentVersion},
	}}
}

// resolve finds out host and credential, without using the credential. With ask, the
// host is asked for what it says of itself to anybody: a host that is dead is found
// out before any credential is used.
func (s *signer) resolve(ctx context.Context, ask bool) *Problem {
	ctx, cancel := context.WithTimeoutCause(ctx, s.o.SignInTimeout, errSignInTimeout)
	defer cancel()
	var found *Problem
	s.cfg.HostMetadataResolver = func(_ context.Context, host string) (*config.HostMetadata, error) {
		if found = s.connect(host); found != nil || !ask {
			return nil, nil
		}
		meta, problem := s.client.hostMetadata(ctx)
		switch {
		case problem == nil:
			s.noteMetadata(meta)
		case problem.Fatal(): // other hosts do not tell, and need not
			found = problem
		}
		return meta, nil
	}
	if err := s.cfg.EnsureResolved(); err != nil {
		var unfit unfitValue
		if errors.As(err, &unfit) || errors.As(plainValues(s.cfg), &unfit) {
			return configProblem("Set it again without the line break: printf '%s' writes none, echo does.", "%s", unfit.Error())
		}
		return s.signInProblem(ctx, err)
	}
	if found != nil {
		return found
	}
	if s.cfg.Host == "" && s.cfg.AzureResourceID == "" {
		return configProblem("Name a profile, or set DATABRICKS_HOST and a credential.", "no workspace is configured")
	}
	// The way to sign in is fixed, lest the SDK try a dozen others, some of them
	// commands, after a credential that is plainly meant was refused: the error would
	// no longer name it.
	switch {
	case s.cfg.AuthType != "":
	case s.cfg.Token != "":
		s.cfg.AuthType = "pat"
	case s.cfg.ClientID != "" && s.cfg.ClientSecret != "":
		s.cfg.AuthType = "oauth-m2m"
	}
	return nil
}

// authenticate gets a credential for the client. header is what it puts on requests.
func (s *signer) authenticate(ctx context.Context) (header http.Header, problem *Problem) {
	trial := &http.Request{Method: http.MethodGet, URL: &url.URL{}, Header: http.Header{}}
	if problem := s.sign(ctx, trial); problem != nil {
		return nil, problem
	}
	if s.client == nil { // the host became known by signing in only
		if problem := s.connect(s.cfg.Host); problem != nil {
			return nil, problem
		}
	}
	s.client.sign = s.sign
	s.client.scrub.secrets = secrets(s.cfg)
	return trial.Header, nil
}

// scopesOf are the API scopes of a credential: of an OAuth access token of the
// platform, those that it carries. What other issuers sign in by has none, and
// opens every API; a token's own are not told here.
func scopesOf(authType, authorization string) []string {
	switch {
	case authType == "pat":
		return nil
	case authType == "basic", strings.HasPrefix(authType, "azure-"), strings.HasPrefix(authType, "google-"):
		return []string{engine.AllAPIs}
	}
	parts := strings.Split(authorization, ".")
	if len(parts) != 3 {
		return nil
	}
	var claims struct {
		Scope string `json:"scope"`
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return nil
	}
	return slices.Sorted(slices.Values(strings.Fields(claims.Scope)))
}

func (s *signer) noteMetadata(meta *config.HostMetadata) {
	s.session.metaID = meta.WorkspaceID
	if cloud := strings.ToLower(string(meta.Cloud)); slices.Contains(clouds, cloud) {
		s.session.cloud = cloud
	}
}

// sign puts the credential on a request.
func (s *signer) sign(ctx context.Context, r *http.Request) *Problem {
	signed := &http.Request{Method: r.Method, URL: r.URL, Header: http.Header{}}
	err := s.within(ctx, func() error { return s.cfg.Authenticate(signed) })
	if err != nil {
		return s.signInProblem(ctx, err)
	}
	for key, values := range signed.Header {
		r.Header[key] = values
	}
	return nil
}

var errSignInTimeout = errors.New("signing in takes too long")

// within bounds how long the SDK signs in: it takes no context, and may ask
// other services or run commands. After an early return the configuration is
// still in use and must not be read.
func (s *signer) within(ctx context.Context, do func() error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.o.SignInTimeout, errSignInTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// connect makes the client for a host, if it is one to send a credential to.
func (s *signer) connect(host string) *Problem {
	base, err := url.Parse(host)
	if err != nil || base.Host == "" {
		return configProblem("Give the host as https://name.", "the host %q is no address", engine.SafeText(host))
	}
	name := cmp.Or(s.target.Name, s.cfg.Profile, base.Host)
	s.client = newClient(s.o, name, &url.URL{Scheme: base.Scheme, Host: base.Host}, s.transport, s.session)
	s.client.routeID = s.cfg.WorkspaceID
	if !secureURL(base) {
		return problemOf(reasonInsecure, "Use https; plain http is accepted for loopback hosts only.", "the host %s is not addressed by https", engine.SafeText(host))
	}
	// The proxy is named, without its credential: whoever owns it learns which
	// workspaces are read. An error shows when it is used.
	if through, err := proxy(s.o, base); err == nil && through != nil && s.o.first("proxy "+through.Host) {
		s.client.event(Event{Kind: EventNote, Reason: "proxy",
			Detail: "connects through the proxy " + through.Scheme + "://" + through.Host + ", which the environment names; --no-proxy goes without"})
	}
	return nil
}

// hostMetadata makes one attempt, and a second if the host does not answer.
func (c *Client) hostMetadata(ctx context.Context) (*config.HostMetadata, *Problem) {
	for n := 0; ; n++ {
		answer, problem := c.once(ctx, metadataPath, nil, nil, errorsLimit)
		if problem == nil {
			defer discard(answer)
			meta := &config.HostMetadata{}
			if err := json.NewDecoder(answer.Reader()).Decode(meta); err != nil {
				return nil, badJSON("GET "+metadataPath, err)
			}
			return meta, nil
		}
		if !problem.quick {
			return nil, problem
		}
		if problem := c.wait(ctx, problem, n); problem != nil {
			return nil, problem
		}
	}
}

// signInProblem classifies what unified authentication reports.
func (s *signer) signInProblem(ctx context.Context, err error) *Problem {
	switch {
	case errors.Is(err, errSignInTimeout), errors.Is(context.Cause(ctx), errSignInTimeout):
		p := problemOf(reasonTimeout, "Sign in by hand first, or pin DATABRICKS_AUTH_TYPE.", "sign in: no credential within %s", s.o.SignInTimeout)
		p.fatal = true
		return p
	case ctx.Err() != nil:
		return interrupted(ctx)
	}
	// Whether the one who issues credentials said no.
	var retrieve *oauth2.RetrieveError
	refused := errors.Is(err, apierr.ErrBadRequest) || errors.Is(err, apierr.ErrUnauthenticated) || errors.Is(err, apierr.ErrPermissionDenied) ||
		errors.As(err, &retrieve) && retrieve.Response != nil && slices.Contains([]int{400, 401, 403}, retrieve.Response.StatusCode)
	text := scrubber{secrets(s.cfg)}.excerpt(err.Error())
	switch {
	case errors.Is(err, config.ErrCannotConfigureDefault):
		return problemOf(reasonNoCredentials, "Name a profile, or set a credential that the Databricks tools know.", "sign in: no way to authenticate is configured")
	case refused:
		return problem(engine.Denied, reasonUnauthenticated, "Check client id and secret, or sign in again.", "sign in: %s", text)
	case s.client == nil || strings.HasPrefix(err.Error(), "resolve: ") || strings.HasPrefix(err.Error(), "validate: "):
		return configProblem("Check the profile and the DATABRICKS_ and ARM_ variables.", "%s", text)
	}
	return problemOf(reasonSignIn, "Check the credential; `databricks auth describe` tells what is used.", "sign in: %s", text)
}

// secrets are the values of a configuration that must not be shown.
func secrets(cfg *config.Config) []string {
	var found []string
	for _, attribute := range config.ConfigAttributes {
		if value := attribute.GetString(cfg); attribute.Sensitive && len(value) >= 6 {
			found = append(found, value)
		}
	}
	return found
}

// loader is a step of reading the configuration.
type loader struct {
	name      string
	configure func(*config.Config) error
}

func (l loader) Name() string                       { return l.name }
func (l loader) Configure(cfg *config.Config) error { return l.configure(cfg) }

// loaders read the configuration: as every Databricks tool does, except that
// a profile that is asked for by name is not overruled by the environment.
func loaders(t Target) []config.Loader {
	if t.Discovered { // the account is the target whose credential reads the workspace
		account := Target{Profile: t.Profile, ConfigFile: t.ConfigFile}
		return append(loaders(account), loader{"discovered workspace", t.configureDiscovered})
	}
	hardening := loader{"hardening", func(cfg *config.Config) error { // what nobody may switch on
		cfg.DebugHeaders = false
		cfg.InsecureSkipVerify = false
		cfg.RetryTimeoutSeconds = 20
		cfg.HTTPTimeoutSeconds = cmp.Or(cfg.HTTPTimeoutSeconds, 20)
		return plainValues(cfg)
	}}
	if t.Profile == "" {
		return []config.Loader{config.ConfigAttributes, config.ConfigFile, hardening}
	}
	return []config.Loader{loader{"named profile", t.configureNamed}, hardening}
}

// unfitValue is a value that no request can carry.
type unfitValue struct{ name, what string }

func (u unfitValue) Error() string { return u.name + " " + u.what }

// plainValues refuses values with a line break, as pasted secrets have, or with
// another control character: requests with them fail as if the host were away.
func plainValues(cfg *config.Config) error {
	for _, attribute := range config.ConfigAttributes {
		value := attribute.GetString(cfg)
		if attribute.Kind != reflect.String || !strings.ContainsFunc(value, unicode.IsControl) {
			continue
		}
		unfit := unfitValue{attribute.Name + " of the profile", "holds a control character"}
		if trimmed := strings.TrimRight(value, "\r\n"); trimmed != value && !strings.ContainsFunc(trimmed, unicode.IsControl) {
			unfit.what = "ends in a line break"
		} else if strings.ContainsAny(value, "\r\n") {
			unfit.what = "holds a line break"
		}
		for _, variable := range attribute.EnvVars {
			if os.Getenv(variable) == value {
				unfit.name = variable
			}
		}
		return unfit
	}
	return nil
}

// configureNamed loads a profile first and fills gaps from the environment.
// Otherwise DATABRICKS_HOST would have several profiles read one workspace.
func (t Target) configureNamed(cfg *config.Config) error {
	cfg.ConfigFile = cmp.Or(cfg.ConfigFile, os.Getenv("DATABRICKS_CONFIG_FILE"))
	cfg.Host = ""
	if err := config.ConfigFile.Configure(cfg); err != nil {
		return fmt.Errorf("profile %s: %w", t.Profile, err)
	}
	if cfg.Host == "" { // the SDK takes a file that is not there for an empty one
		if _, err := config.LoadFile(cfg.ConfigFile); err != nil {
			return fmt.Errorf("profile %s: %w", t.Profile, err)
		}
	}
	// A profile's credential goes to no other host.
	given := t.Host
	if given != "" && cfg.Host != "" && (&config.Config{Host: given}).CanonicalHostName() != (&config.Config{Host: cfg.Host}).CanonicalHostName() {
		return fmt.Errorf("profile %s is for %s, not for %s", t.Profile, cfg.Host, given)
	}
	cfg.Host = cmp.Or(cfg.Host, given)
	ownHost := cfg.Host != ""
	// The environment fills in what the profile leaves open and what goes with it: a
	// secret for the profile's client id, but no second way to sign in.
	families := map[string]bool{}
	for _, attribute := range config.ConfigAttributes {
		if attribute.HasAuthAttribute() && !attribute.IsZero(cfg) {
			families[attribute.Auth] = true
		}
	}
	for _, attribute := range config.ConfigAttributes {
		value, _ := attribute.ReadEnv()
		another := attribute.HasAuthAttribute() && !families[attribute.Auth] && !slices.Contains(attribute.AuthTypes, cfg.AuthType)
		decided := cfg.AuthType != "" || len(families) > 0
		switch {
		case value == "", !attribute.IsZero(cfg):
		case ownHost && slices.Contains(hostBound, attribute.Name):
		case decided && (attribute.Name == "auth_type" || another):
		default:
			if err := attribute.SetS(cfg, value); err != nil {
				return fmt.Errorf("environment, %s: %w", attribute.Name, err)
			}
		}
	}
	return nil
}

// hostBound are attributes that mean nothing away from their host.
var hostBound = []string{"account_id", "workspace_id", "azure_workspace_resource_id", "discovery_url", "cloud", "audience"}
