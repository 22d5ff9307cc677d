// Package apply carries out the approved steps of a plan, and nothing else.
//
// It is built like a payment system. Gates come before any request that is not
// a GET; then each step goes through a small machine ([afterLook], [afterAct])
// whose every move is on disk in the journal before the next thing happens:
//
//	PENDING --look--> GONE_BEFORE | SKIPPED_DRIFT | SKIPPED_PROTECTED | INTENT
//	INTENT  --act---> ACKED | GONE_AFTER_INTENT | REFUSED | FAILED | UNRESOLVED
//	ACKED   --look--> DONE | UNRESOLVED (after a minute of looking)
//	INTENT, UNRESOLVED, after a crash or a lost answer: look again, which decides
//
// A crash at any point leaves a journal from which a run with Resume goes on.
// The package knows no file, no database and no HTTP: journal, workspaces,
// judge and clock come in through the interfaces of [Job].
package apply
