// Package simulator is a stateful Databricks account served over HTTP: the
// workspaces, tokens, principals, settings and grants that patrol audits,
// with the quirks of the real APIs and with faults to order.
//
// It exists so that the demo, the training server and every end-to-end test
// talk to the same thing, and so that patrol's own client code, the official
// SDK and the official CLI are all driven unchanged. It imports nothing
// of patrol: what it says about Databricks is
// written down independently of the code that it tests.
//
// Words used here:
//
//   - account: all that one listener serves; an [Account] is an http.Handler.
//   - workspace: one state within it. A header or the caller's credential picks
//     it, see docs/simulator.md.
//   - directory: users, service principals and account groups, shared by all
//     workspaces as with identity federation.
//   - kind: why a generated token is as it is ("endless", "expired"...). It is
//     never on the wire, only in the Go API and the control plane.
//   - fault: a rule that spoils matching calls.
//   - contradiction: a named set of faults whose answers cannot be true.
//   - control plane: HTTP below /_sim/, for tests that are not written in Go.
//
// Everything is deterministic in the seed and the clock. The clock is the
// caller's ([Options.Now]) plus what [Account.Advance] added.
package simulator
