// Package journal is the durable record of what apply did, in a database of its
// own: plans and approvals as the bytes that were given, where each step
// stands, and a chain of events that vouches for all of it.
package journal
