// Package remedy carries out the steps of plans, and is the only code that
// changes a workspace: one file per remedy, each a value of engine.Remedy.
//
// A remedy looks (GET), acts (one request) and knows when its end is reached.
// It decides nothing: whether a step may be carried out, what its answers mean
// for the run, and what is written to the journal is the business of apply.
//
// What answers mean is told in one place, [Sort]. A request is never sent
// twice here, and never after a redirect: both can turn "revoked" into a lie.
package remedy
