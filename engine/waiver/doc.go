// Package waiver reads waivers.yaml and lets its entries excuse findings.
//
// A waiver is a dated exception: who approved what, why, and until when. It
// goes by policy, workspace, token and owner, never by a comment, because
// anybody writes comments. Only a failed finding is ever waived: what is
// unknown stays unknown. A waiver that expired, that a policy refused or that
// excuses nothing is reported, because silence would make it look alive.
package waiver
