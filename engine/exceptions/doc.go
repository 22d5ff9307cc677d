// Package exceptions lets findings be excused: by waivers and by a baseline.
//
// A waiver is a dated exception in waivers.yaml: who approved what, why, and
// until when. It goes by policy, workspace, token and owner, never by a
// comment, because anybody writes comments. A waiver that expired, that a
// policy refused or that excuses nothing is reported, because silence would
// make it look alive.
//
// A baseline is a file of fingerprints, made by an evaluation, so that an audit
// fails on new findings only. It excuses what it lists and nothing else, and
// says which of its entries are gone. What could not be judged is not gone.
//
// Only a failed finding is ever excused: what is unknown stays unknown.
package exceptions
