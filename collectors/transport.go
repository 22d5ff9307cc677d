package collectors

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// newTransport connects to workspaces and to whoever signs us in.
func newTransport(o Options) (*http.Transport, *Problem) {
	authorities, problem := authorities(o.CAFile)
	if problem != nil {
		return nil, problem
	}
	dialer := &net.Dialer{Timeout: o.ConnectTimeout, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                 func(r *http.Request) (*url.URL, error) { return proxy(o, r.URL) },
		DialContext:           dialer.DialContext,
		ForceAttemptHTTP2:     true,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities},
		TLSHandshakeTimeout:   o.ConnectTimeout,
		ResponseHeaderTimeout: o.IdleTimeout,
		MaxIdleConnsPerHost:   max(2, o.Parallel), // an account may serve all its workspaces by one host
		IdleConnTimeout:       time.Minute,
	}, nil
}

// proxy is what the environment says to connect through to a host; nil: directly.
// Loopback hosts are always reached directly.
func proxy(o Options, to *url.URL) (*url.URL, error) {
	if o.NoProxy {
		return nil, nil
	}
	return httpproxy.FromEnvironment().ProxyFunc()(to)
}

// noteProxy names the proxy to a host, without its credential: whoever owns it
// learns which workspaces are read.
func (c *Client) noteProxy() {
	through, err := proxy(c.o, c.base)
	if err != nil || through == nil || !c.o.reported.first("proxy "+through.Host) {
		return // an error shows when it is used
	}
	c.event(Event{Kind: EventNote, Reason: "proxy",
		Detail: "connects through the proxy " + through.Scheme + "://" + through.Host + ", which the environment names; --no-proxy goes without"})
}

// authorities are the system's and those of a file; nil means the system's only.
func authorities(file string) (*x509.CertPool, *Problem) {
	if file == "" {
		return nil, nil
	}
	hint := "Give a PEM file with one or more certificates of authorities."
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, configProblem(hint, "read certificate authorities: %v", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, configProblem(hint, "read certificate authorities: %s holds no certificate", file)
	}
	return pool, nil
}

// neverRedirect hands redirects to the caller, who refuses them: following one
// would carry the credential elsewhere.
func neverRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// secureURL reports whether a credential may be sent there: by https, or to
// this very machine.
func secureURL(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname())
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// signInTransport carries the requests that the SDK sends to obtain a
// credential. Clouds serve their own on a link-local address by plain http.
type signInTransport struct {
	next      http.RoundTripper
	userAgent string
}

func (t signInTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if !secureURL(r.URL) && !linkLocal(r.URL.Hostname()) {
		return nil, fmt.Errorf("sign in through %s: plain http is accepted for loopback hosts only", r.URL.Host)
	}
	r = r.Clone(r.Context())
	r.Header.Set("User-Agent", t.userAgent)
	answer, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode >= 300 && answer.StatusCode < 400 {
		answer.Body.Close()
		return nil, fmt.Errorf("sign in through %s: redirect refused", r.URL.Host)
	}
	return answer, nil
}

func linkLocal(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLinkLocalUnicast()
}
