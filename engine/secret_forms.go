package engine

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// secretForm is how one kind of secret looks in text that people write.
type secretForm struct {
	kind    string // with its article
	words   string // in small letters, separated by spaces: one of them is in every such secret
	pattern string // up to where the secret ends; where there is a group, the group is the secret
	example string // <8> stands for 8 letters and digits, <h8> for hexadecimal, <u8> for capital, <a8> for small ones and <d8> for digits
	source  string // who says so

	accept   func(secret string) bool // what a pattern cannot tell; nil: nothing
	compiled *regexp.Regexp
}

const gitleaks = "https://github.com/gitleaks/gitleaks/blob/master/config/gitleaks.toml"

// secretForms are all secrets that patrol knows: PAT-021 finds them in comments,
// and whatever patrol writes shows foreign text without them. What is told apart
// by a prefix stands before what is told by the words around it.
var secretForms = sync.OnceValue(func() []secretForm {
	forms := []secretForm{
		{kind: "a private key", words: "private", pattern: `(?s)-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY.*`,
			example: "-----BEGIN RSA PRIVATE KEY-----\nMIIE<40>", source: "https://www.rfc-editor.org/rfc/rfc7468"},
		{kind: "a private key", words: "putty-user-key-file", pattern: `(?s)PuTTY-User-Key-File-[0-9].*`,
			example: "PuTTY-User-Key-File-3: ssh-ed25519", source: "https://the.earth.li/~sgtatham/putty/0.81/htmldoc/AppendixC.html"},
		{kind: "an age key", words: "age-secret-key-1", pattern: `AGE-SECRET-KEY-1[A-Z0-9]{40,}`, example: "AGE-SECRET-KEY-1<u58>", source: "https://age-encryption.org/v1"},
		{kind: "a JSON web token", words: "eyj", pattern: `\beyJ[A-Za-z0-9_-]{8,}(?:\.eyJ[A-Za-z0-9_-]{8,}[A-Za-z0-9_.-]*|(?:\.[A-Za-z0-9_-]{16,}){2,4})`,
			example: "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.<43>", source: "https://www.rfc-editor.org/rfc/rfc7519"},
		{kind: "a Databricks token", words: "dapi dkea dose", pattern: `(?:dapi|dkea|dose)[0-9a-f]{32}(?:-[0-9]+)?`,
			example: "dapi<h32>-2", source: "https://docs.databricks.com/aws/en/dev-tools/auth/pat"},
		{kind: "an AWS access key", words: "akia asia abia acca", pattern: `\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b(?:[\s:,;|/]{1,3}[A-Za-z0-9/+]{40}\b)?`,
			example: "AKIA<u16>:<40>", source: "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html"},
		{kind: "an AWS secret key", words: "aws secret_access_key secretaccesskey secret", example: "aws_secret_access_key = <40>",
			pattern: `(?i)(?:aws.{0,20}|secret_?access_?)(?:key|secret)["']?\s*[=:]\s*["']?([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$)`, accept: lettersAndDigits,
			source: "https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_access-keys.html"},
		{kind: "an AWS Bedrock key", words: "absk bedrock-api-key-", pattern: `\bABSK[A-Za-z0-9+/]{100,}={0,2}|bedrock-api-key-[A-Za-z0-9+/]{30,}={0,2}`, example: "ABSK<120>",
			source: "https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys.html"},
		{kind: "an Azure account key", words: "==", pattern: `(?:^|[^A-Za-z0-9+/])([A-Za-z0-9+/]{86}==)`, example: "AccountKey=<86>==",
			source: "https://learn.microsoft.com/en-us/azure/storage/common/storage-account-keys-manage"},
		{kind: "an Azure shared access key", words: "sharedaccesskey", pattern: `(?i)SharedAccessKey=([A-Za-z0-9+/]{43}=)`, example: "SharedAccessKey=<43>=",
			source: "https://learn.microsoft.com/en-us/azure/service-bus-messaging/service-bus-sas"},
		{kind: "an Azure shared access signature", words: "sig=", pattern: `\bsig=([A-Za-z0-9%/+_-]{40,}(?:=|%3[dD])?)`, example: "?sv=2022-11-02&sp=rl&sig=<43>%3D",
			source: "https://learn.microsoft.com/en-us/azure/storage/common/storage-sas-overview"},
		{kind: "an Entra client secret", words: "q~", pattern: `[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}`, example: "abc8Q~<34>", source: gitleaks},
		{kind: "an Azure DevOps token", words: "azdo", pattern: `\b[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}\b`, example: "<76>AZDO<4>",
			source: "https://learn.microsoft.com/en-us/azure/devops/organizations/accounts/use-personal-access-tokens-to-authenticate"},
		{kind: "a Google API key", words: "aiza", pattern: `\bAIza[0-9A-Za-z_-]{35}`, example: "AIza<35>", source: "https://cloud.google.com/docs/authentication/api-keys"},
		{kind: "a Google OAuth secret", words: "gocspx- ya29. 1//0", pattern: `GOCSPX-[A-Za-z0-9_-]{28}|\bya29\.[A-Za-z0-9_-]{20,}|\b1//0[A-Za-z0-9_-]{40,}`, example: "GOCSPX-<28>",
			source: "https://developers.google.com/identity/protocols/oauth2"},
		{kind: "a GitHub token", words: "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_", pattern: `gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}`, example: "ghp_<36>",
			source: "https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/about-authentication-to-github"},
		{kind: "a GitLab token", words: "gl gr1348941", pattern: `\bgl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat|ffct|wt)-[A-Za-z0-9_=.-]{20,}|\bGR1348941[A-Za-z0-9_-]{20,}`, example: "glpat-<20>",
			source: "https://docs.gitlab.com/security/tokens/"},
		{kind: "an npm token", words: "npm_", pattern: `\bnpm_[A-Za-z0-9]{36}`, example: "npm_<36>", source: "https://docs.npmjs.com/about-access-tokens"},
		{kind: "a PyPI token", words: "pypi-", pattern: `\bpypi-[A-Za-z0-9_-]{50,}`, example: "pypi-AgEIcHlwaS5vcmc<60>", source: "https://pypi.org/help/#apitoken"},
		{kind: "a RubyGems key", words: "rubygems_", pattern: `\brubygems_[a-f0-9]{48}`, example: "rubygems_<h48>", source: "https://guides.rubygems.org/api-key-scopes/"},
		{kind: "a NuGet key", words: "oy2", pattern: `\boy2[a-z0-9]{43}\b`, example: "oy2<a43>", source: "https://learn.microsoft.com/en-us/nuget/nuget-org/publish-a-package"},
		{kind: "a Docker Hub token", words: "dckr_", pattern: `\bdckr_[a-z]+_[A-Za-z0-9_-]{27,}`, example: "dckr_pat_<27>", source: "https://docs.docker.com/security/access-tokens/"},
		{kind: "an Artifactory key", words: "akcp cmvmd", pattern: `\bAKCp[A-Za-z0-9]{69}\b|\bcmVmd[A-Za-z0-9]{59}\b`, example: "AKCp<69>", source: gitleaks},
		{kind: "a Hugging Face token", words: "hf_ api_org_", pattern: `\b(?:hf|api_org)_[A-Za-z0-9]{30,}`, example: "hf_<34>", source: "https://huggingface.co/docs/hub/security-tokens"},
		{kind: "an Anthropic key", words: "sk-ant-", pattern: `\bsk-ant-[A-Za-z0-9_-]{20,}`, example: "sk-ant-api03-<93>AA", source: gitleaks},
		{kind: "an OpenRouter key", words: "sk-or-", pattern: `\bsk-or-v1-[a-f0-9]{64}`, example: "sk-or-v1-<h64>", source: "https://openrouter.ai/docs/api-reference/authentication"},
		{kind: "an OpenAI key", words: "sk-", pattern: `\bsk-(?:(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{20,}|[A-Za-z0-9]{40,}\b)`, example: "sk-proj-<48>",
			source: "https://platform.openai.com/docs/api-reference/authentication"},
		{kind: "a Groq key", words: "gsk_", pattern: `\bgsk_[A-Za-z0-9]{40,}`, example: "gsk_<52>", source: "https://console.groq.com/docs/quickstart"},
		{kind: "a Perplexity key", words: "pplx-", pattern: `\bpplx-[A-Za-z0-9]{40,}`, example: "pplx-<48>", source: gitleaks},
		{kind: "a Replicate token", words: "r8_", pattern: `\br8_[A-Za-z0-9]{37}\b`, example: "r8_<37>", source: "https://replicate.com/docs/topics/security/api-tokens"},
		{kind: "a LangSmith key", words: "lsv2_", pattern: `\blsv2_[a-z]{2}_[a-f0-9]{32}_[a-f0-9]{10}`, example: "lsv2_pt_<h32>_<h10>", source: "https://docs.smith.langchain.com/"},
		{kind: "a Slack webhook", words: "hooks.slack.com", pattern: `hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/_-]{20,}`, example: "https://hooks.slack.com/services/T<u8>/B<u8>/<24>",
			source: "https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks/"},
		{kind: "a Slack token", words: "xox xapp-", pattern: `xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{10,}|xapp-[0-9]-[A-Z0-9]+-[0-9]+-[A-Za-z0-9]+`, example: "xoxb-<d12>-<24>",
			source: "https://docs.slack.dev/authentication/tokens"},
		{kind: "a Teams webhook", words: "webhook.office.com", pattern: `[a-z0-9-]+\.webhook\.office\.com/webhook[^\s"'<>]{20,}`,
			example: "https://contoso.webhook.office.com/webhookb2/<h32>@<h32>/IncomingWebhook/<h32>/<h32>",
			source:  "https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook"},
		{kind: "a Discord webhook", words: "/api/webhooks/", pattern: `discord(?:app)?\.com/api/webhooks/[0-9]{15,}/[A-Za-z0-9_-]{40,}`, example: "https://discord.com/api/webhooks/<d18>/<68>",
			source: "https://discord.com/developers/docs/resources/webhook"},
		{kind: "a Telegram bot token", words: ":aa", pattern: `\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}`, example: "<d10>:AA<33>", source: "https://core.telegram.org/bots/api#authorizing-your-bot"},
		{kind: "a Stripe key", words: "k_live_ k_test_ whsec_", pattern: `\b[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|\bwhsec_[A-Za-z0-9+/]{32,}`, example: "sk_live_<24>", source: "https://docs.stripe.com/keys"},
		{kind: "a Square token", words: "eaaa sq0", pattern: `\bEAAA[A-Za-z0-9_-]{60}|\bsq0[a-z]{3}-[A-Za-z0-9_-]{22,}`, example: "sq0csp-<43>", source: gitleaks},
		{kind: "a Shopify token", words: "shp", pattern: `\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}`, example: "shpat_<h32>", source: gitleaks},
		{kind: "a SendGrid key", words: "sg.", pattern: `\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}`, example: "SG.<22>.<43>", source: "https://www.twilio.com/docs/sendgrid/ui/account-and-settings/api-keys"},
		{kind: "a Twilio key", words: "sk", pattern: `\bSK[0-9a-f]{32}\b`, example: "SK<h32>", source: "https://www.twilio.com/docs/iam/api-keys"},
		{kind: "a Mailgun key", words: "key-", pattern: `\bkey-[0-9a-f]{32}\b`, example: "key-<h32>", source: "https://documentation.mailgun.com/docs/mailgun/user-manual/api-key-mgmt"},
		{kind: "a Mailchimp key", words: "-us", pattern: `\b[0-9a-f]{32}-us[0-9]{1,2}\b`, example: "<h32>-us12", source: "https://mailchimp.com/developer/marketing/docs/fundamentals/"},
		{kind: "a Brevo key", words: "xkeysib-", pattern: `\bxkeysib-[a-f0-9]{64}-[A-Za-z0-9]{16}`, example: "xkeysib-<h64>-<16>", source: gitleaks},
		{kind: "a DigitalOcean token", words: "_v1_", pattern: `\bdo[opr]_v1_[a-f0-9]{64}`, example: "dop_v1_<h64>", source: "https://docs.digitalocean.com/reference/api/"},
		{kind: "an Alibaba access key", words: "ltai", pattern: `\bLTAI[A-Za-z0-9]{12,24}\b`, example: "LTAI<20>", source: gitleaks},
		{kind: "a Heroku key", words: "hrku-", pattern: `\bHRKU-[A-Za-z0-9_-]{36,}`, example: "HRKU-AA<58>", source: gitleaks},
		{kind: "a Fly.io token", words: "fo1_ fm1 fm2_", pattern: `\bfo1_[A-Za-z0-9_-]{43}|\bfm(?:1[ar]|2)_[A-Za-z0-9+/]{100,}={0,3}`, example: "fo1_<43>", source: "https://fly.io/docs/security/tokens/"},
		{kind: "a Vault token", words: "hvs. hvb. hvr.", pattern: `\bhv[sbr]\.[A-Za-z0-9_-]{24,}`, example: "hvs.<90>", source: "https://developer.hashicorp.com/vault/docs/concepts/tokens"},
		{kind: "a Terraform Cloud token", words: ".atlasv1.", pattern: `\b[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,}`, example: "<14>.atlasv1.<67>", source: gitleaks},
		{kind: "a Pulumi token", words: "pul-", pattern: `\bpul-[a-f0-9]{40}`, example: "pul-<h40>", source: "https://www.pulumi.com/docs/pulumi-cloud/access-management/access-tokens/"},
		{kind: "a Doppler token", words: "dp.", pattern: `\bdp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9._-]{40,}`, example: "dp.pt.<43>", source: "https://docs.doppler.com/docs/service-tokens"},
		{kind: "a 1Password token", words: "ops_eyj a3-", pattern: `\bops_eyJ[A-Za-z0-9+/]{40,}={0,3}|\bA3-[A-Z0-9]{6}-[A-Z0-9-]{11,13}-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}\b`, example: "ops_eyJ<250>", source: gitleaks},
		{kind: "a Grafana token", words: "glsa_ glc_ eyjrijoi", pattern: `\bglsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}|\bglc_[A-Za-z0-9+/]{32,}={0,3}|\beyJrIjoi[A-Za-z0-9]{70,}={0,3}`, example: "glsa_<32>_<h8>",
			source: "https://grafana.com/docs/grafana/latest/administration/service-accounts/"},
		{kind: "a New Relic key", words: "nrak- nrii- nral-", pattern: `\bNR(?:AK|II|AL)-[A-Za-z0-9_-]{27,}`, example: "NRAK-<u27>", source: "https://docs.newrelic.com/docs/apis/intro-apis/new-relic-api-keys/"},
		{kind: "a Dynatrace token", words: "dt0", pattern: `\bdt0[a-z][0-9]{2}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{64}`, example: "dt0c01.<u24>.<u64>", source: "https://docs.dynatrace.com/docs/dynatrace-api/basics/dynatrace-api-authentication"},
		{kind: "a Sentry token", words: "sntry", pattern: `\bsntry[su]_[A-Za-z0-9+/=_]{40,}`, example: "sntryu_<h64>", source: gitleaks},
		{kind: "a Postman key", words: "pmak-", pattern: `\bPMAK-[a-f0-9]{24}-[a-f0-9]{34}`, example: "PMAK-<h24>-<h34>", source: "https://learning.postman.com/docs/developer/postman-api/authentication/"},
		{kind: "a Linear key", words: "lin_api_", pattern: `\blin_api_[A-Za-z0-9]{40}`, example: "lin_api_<40>", source: "https://linear.app/developers/graphql"},
		{kind: "a Notion token", words: "ntn_", pattern: `\bntn_[A-Za-z0-9]{40,}`, example: "ntn_<d11><35>", source: "https://developers.notion.com/docs/authorization"},
		{kind: "a Figma token", words: "figd_", pattern: `\bfigd_[A-Za-z0-9_-]{40,}`, example: "figd_<40>", source: "https://developers.figma.com/docs/rest-api/authentication/"},
		{kind: "an Airtable token", words: "pat", pattern: `\bpat[A-Za-z0-9]{14}\.[a-f0-9]{64}`, example: "pat<14>.<h64>", source: "https://airtable.com/developers/web/api/authentication"},
		{kind: "an Atlassian token", words: "atatt3 atctt3", pattern: `\bAT(?:AT|CT)T3[A-Za-z0-9_=-]{60,}`, example: "ATATT3<186>", source: gitleaks},
		{kind: "a PlanetScale token", words: "pscale_", pattern: `\bpscale_(?:tkn|pw|oauth)_[A-Za-z0-9_=.-]{32,}`, example: "pscale_tkn_<43>", source: "https://planetscale.com/docs/api/reference/service-tokens"},
		{kind: "a Supabase token", words: "sbp_ sb_secret_", pattern: `\bsbp_[a-f0-9]{40}|\bsb_secret_[A-Za-z0-9_-]{20,}`, example: "sbp_<h40>", source: "https://supabase.com/docs/guides/api/api-keys"},
		{kind: "a Prefect key", words: "pnu_ pnb_", pattern: `\bpn[ub]_[A-Za-z0-9]{36}`, example: "pnu_<36>", source: gitleaks},
		{kind: "an OpenShift token", words: "sha256~", pattern: `\bsha256~[A-Za-z0-9_-]{43}`, example: "sha256~<43>", source: gitleaks},

		{kind: "a password in a URL", words: "://", pattern: `(?i)\b[a-z][a-z0-9+.-]*://[^\s/:@]*:([^\s/@"'$<{(\[*][^\s/@]*)@`, example: "postgresql://ann:hunter2@db.example.com/x",
			source: "https://www.rfc-editor.org/rfc/rfc3986#section-3.2.1"},
		{kind: "credentials of an HTTP header", words: "bearer", pattern: `(?i)\bBearer\s+([A-Za-z0-9._~+/-]{20,}=*)`, example: "Authorization: Bearer <32>",
			source: "https://www.rfc-editor.org/rfc/rfc6750", accept: lettersAndDigits},
		{kind: "credentials of an HTTP header", words: "basic", pattern: `(?i)\bBasic\s+([A-Za-z0-9+/_-]{8,}={0,2})`, example: "Authorization: Basic YW5uOmh1bnRlcjI=",
			source: "https://www.rfc-editor.org/rfc/rfc7617", accept: nameAndPassword},
		{kind: "a password", words: passwordWords + " secret key pass", example: "db_password=hunter2", source: gitleaks,
			pattern: `(?i)(?:^|[^a-z0-9])(?:(?:` + passwords + `)(?:\s*=\s*|:)|(?:secret|pass|(?:api|access|account)[_-]?key)\s*=\s*)(["']?[^\s"'$<{(\[*]\S{3,})`},
		{kind: "a password", words: passwordWords + " secret key", example: `{"password": "hunter2"}`, source: gitleaks,
			pattern: `(?i)(?:^|[^a-z0-9])(?:` + passwords + `|secret|(?:api|access|account)[_-]?key)["']?\s*[:=]\s*["']([^\s"'$<{(\[*][^"']{3,})["']`},
		{kind: "a password", words: passwordWords + " secret token key", example: "password: hunter2", source: gitleaks, accept: likePassword,
			pattern: `(?i)(?:^|[^a-z0-9])(?:` + passwords + `|secret|(?:access|auth|refresh|api)[_-]?token|(?:api|access)[_-]?key)\s*[:=]\s*([^\s"'$<{(\[*]\S{5,})`},
	}
	for i := range forms {
		forms[i].compiled = regexp.MustCompile(forms[i].pattern)
	}
	return forms
})

// Prose about passwords holds none: after a colon and a space only what looks like
// a password counts, and placeholders such as ${PASSWORD}, <password> or **** never do.
const (
	passwords     = `password|passwd|pwd|passphrase|passwort|kennwort|contraseña|senha`
	passwordWords = "passw pwd passphrase kennwort contraseña senha"
)

// lettersAndDigits: words of prose and names have no digits.
func lettersAndDigits(text string) bool {
	return strings.ContainsFunc(text, unicode.IsLetter) && strings.ContainsFunc(text, unicode.IsDigit)
}

var ticket = regexp.MustCompile(`^[A-Z][A-Z0-9]*-[0-9]+[.,;]?$`)

func likePassword(text string) bool { return lettersAndDigits(text) && !ticket.MatchString(text) }

func nameAndPassword(text string) bool {
	decoded, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	return err == nil && strings.Contains(string(decoded), ":") && !strings.ContainsFunc(string(decoded), func(r rune) bool { return !unicode.IsPrint(r) })
}

// secretWords are the words of all forms by their first two letters: most texts are
// known to hold no secret after one look at each pair of letters.
var secretWords = sync.OnceValue(func() map[[2]byte][]secretWord {
	words := map[[2]byte][]secretWord{}
	for i, form := range secretForms() {
		for _, word := range strings.Fields(form.words) {
			pair := [2]byte{word[0], word[1]}
			words[pair] = append(words[pair], secretWord{word, i})
		}
	}
	return words
})

// secretPairs says of two bytes whether a word begins with them: it is asked for each
// letter of each comment.
var secretPairs = sync.OnceValue(func() *[1 << 16]bool {
	var pairs [1 << 16]bool
	for pair := range secretWords() {
		pairs[int(pair[0])<<8|int(pair[1])] = true
	}
	return &pairs
})

type secretWord struct {
	word string
	form int
}

// possibleForms are the forms of which a text has a word, in their order.
func possibleForms(text string) (forms []int) {
	small, pairs, words := strings.ToLower(text), secretPairs(), secretWords()
	for i := range max(0, len(small)-1) {
		if !pairs[int(small[i])<<8|int(small[i+1])] {
			continue
		}
		for _, w := range words[[2]byte{small[i], small[i+1]}] {
			if strings.HasPrefix(small[i:], w.word) {
				forms = append(forms, w.form)
			}
		}
	}
	slices.Sort(forms)
	return slices.Compact(forms)
}

// find is where secrets of the form stand in a text.
func (f secretForm) find(text string) (found [][2]int) {
	for _, match := range f.compiled.FindAllStringSubmatchIndex(text, -1) {
		at := match[len(match)-2:] // the group, or all
		if f.accept == nil || f.accept(text[at[0]:at[1]]) {
			found = append(found, [2]int{at[0], at[1]})
		}
	}
	return found
}

// redactedMark stands where RedactSecrets found a secret. A list that patrol wrote is
// judged as the one that it was made of.
var redactedMark = regexp.MustCompile(`\[redacted ([^\[\]]+?)(?: in base64)?\]`)

// SecretKinds names the kinds of secrets in a foreign text, sorted.
func SecretKinds(text string) []string {
	kinds := plainKinds(text)
	if strings.Contains(text, "[redacted ") {
		for _, mark := range redactedMark.FindAllStringSubmatch(text, -1) {
			for _, form := range secretForms() {
				if bare(form.kind) == mark[1] {
					kinds = append(kinds, form.kind)
				}
			}
		}
	}
	for _, run := range encodedRuns(text) {
		kinds = append(kinds, decodedKinds(text[run[0]:run[1]])...)
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

func plainKinds(text string) (kinds []string) {
	for _, i := range possibleForms(text) {
		if form := secretForms()[i]; form.find(text) != nil {
			kinds = append(kinds, form.kind)
		}
	}
	return kinds
}

// RedactSecrets takes secrets out of foreign text, such as a token's comment,
// and says in their place what was there. Everything that patrol writes shows
// comments through it; the policies see them as they are.
func RedactSecrets(text string) string {
	text = cutOut(text, encodedRuns(text), func(run string) string {
		if kinds := decodedKinds(run); len(kinds) > 0 {
			return "[redacted " + bare(kinds[0]) + " in base64]"
		}
		return run
	})
	for _, i := range possibleForms(text) {
		form := secretForms()[i]
		text = cutOut(text, form.find(text), func(string) string { return "[redacted " + bare(form.kind) + "]" })
	}
	return text
}

// bare is a kind without its article.
func bare(kind string) string {
	return strings.TrimPrefix(strings.TrimPrefix(kind, "a "), "an ")
}

// encodedRuns is where a text may be in base64. Ids and digests in hexadecimal are not.
func encodedRuns(text string) (runs [][2]int) {
	for start := 0; start < len(text); start++ {
		end, hexadecimal := start, true
		for ; end < len(text) && ofBase64(text[end]); end++ {
			hexadecimal = hexadecimal && strings.IndexByte("0123456789abcdef-", text[end]) >= 0
		}
		if end-start >= 16 && !hexadecimal {
			for end < len(text) && text[end] == '=' {
				end++
			}
			runs = append(runs, [2]int{start, end})
		}
		start = end
	}
	return runs
}

func ofBase64(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '+' || b == '/' || b == '-' || b == '_'
}

// decodedKinds are the secrets in a run once it is decoded, from whichever of four
// letters on: what stands before it may be of the same alphabet.
func decodedKinds(run string) []string {
	run = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(run, "="))
	for start := range min(4, len(run)) {
		part := run[start:]
		if len(part)%4 == 1 {
			part = part[:len(part)-1]
		}
		decoded, err := base64.RawStdEncoding.DecodeString(part)
		if err != nil {
			continue
		}
		if kinds := plainKinds(string(decoded)); len(kinds) > 0 {
			return kinds
		}
	}
	return nil
}

// cutOut replaces parts of a text.
func cutOut(text string, parts [][2]int, instead func(string) string) string {
	if len(parts) == 0 {
		return text
	}
	var out strings.Builder
	at := 0
	for _, part := range parts {
		out.WriteString(text[at:part[0]] + instead(text[part[0]:part[1]]))
		at = part[1]
	}
	return out.String() + text[at:]
}
