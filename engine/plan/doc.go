// Package plan turns the findings of an evaluation into steps that a person can
// approve, and holds approvals to the very bytes that were approved.
//
// Build makes a Plan of a Report: one step per target and action, lowest risk
// first, with the evidence it rests on, what must still hold right before it,
// and what should hold after it. Nothing here touches a workspace. Encode and
// Read are the plan file; its bytes are written once and never serialised
// again, because an approval is a Statement over their SHA-256. Verify decides
// which steps are approved: it checks signatures before it parses what they
// sign, and refuses whatever it does not fully understand.
package plan
