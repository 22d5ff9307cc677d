# The six rules of the comparison, over the list as the platform gives it, for
# engines that evaluate one document: they find what the policies of the same
# ids find.
package main

day := 86400000

lived(t) := floor((data.as_of - t.creation_time) / day)

endless(t) if t.expiry_time == -1

ended(t) if {
	not endless(t)
	t.expiry_time <= data.as_of
}

# Rounded up beyond a minute of grace.
lifetime(t) := max([0, floor((((t.expiry_time - t.creation_time) - 60000) + (day - 1)) / day)]) if not endless(t)

idle(t) := max([0, floor((data.as_of - t.last_used_day) / day)])

deny contains {"msg": sprintf("PAT-001 %s never expires", [t.token_id])} if {
	some t in input.token_infos
	endless(t)
}

deny contains {"msg": sprintf("PAT-002 %s lives %v days, limit 90", [t.token_id, lifetime(t)])} if {
	some t in input.token_infos
	not ended(t)
	lifetime(t) > 90
}

deny contains {"msg": sprintf("PAT-004 %s unused for %v days, limit 90", [t.token_id, idle(t)])} if {
	some t in input.token_infos
	not ended(t)
	idle(t) >= 90
}

deny contains {"msg": sprintf("PAT-004 %s never used in %v days, limit 90", [t.token_id, lived(t)])} if {
	some t in input.token_infos
	not ended(t)
	not t.last_used_day
	lived(t) >= 90
}

deny contains {"msg": sprintf("PAT-005 %s never used in %v days, limit 14", [t.token_id, lived(t)])} if {
	some t in input.token_infos
	not ended(t)
	not t.last_used_day
	lived(t) > 14
}

deny contains {"msg": sprintf("PAT-008 %s expired", [t.token_id])} if {
	some t in input.token_infos
	ended(t)
}

deny contains {"msg": sprintf("PAT-009 %s is %v days old, limit 90", [t.token_id, lived(t)])} if {
	some t in input.token_infos
	not ended(t)
	lived(t) > 90
}
