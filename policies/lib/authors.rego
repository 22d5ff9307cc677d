# METADATA
# title: Who changed something, by the audit log
package patrol.lib.authors

# METADATA
# description: >-
#   The finding about a change, with what the audit log has of it. log is a list: the
#   part of input.workspace.audit_changes that the change is about, or nothing where
#   nobody gave a log.
finding(message, log) := message if {
	log == []
} else := {
	"msg": sprintf("%s; %s", [message, log[0].text]),
	"changed_by": object.get(log[0], "events", []),
}
