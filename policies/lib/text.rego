# METADATA
# title: Words that several policies use
package patrol.lib

# METADATA
# description: >-
#   A number of days in words, for messages. One definition and no cases: each case
#   would be another condition when a policy is translated to SQL.
days(n) := object.get({0: "less than a day", 1: "1 day"}, n, sprintf("%v days", [n]))

# METADATA
# description: The day of an RFC 3339 instant in UTC.
day(instant) := substring(instant, 0, 10)

# METADATA
# description: Whether a list holds a text, in any letter case.
one_of(text, list) if {
	some item in list
	lower(item) == lower(text)
}

# METADATA
# description: >-
#   Whom a name or address reaches, in lower case: what stands behind a plus sign in the
#   first part of an address only sorts a person's mail.
mailbox(name) := regex.replace(lower(name), `\+[^@]*@`, "@")

# METADATA
# description: >-
#   An OAuth app as findings name it: by its name, and by its id where another app of
#   the account has the same name, so that a waiver for one is none for the other.
app_name(app, apps) := app.name if {
	count([1 | some other in apps; other.name == app.name]) == 1
} else := sprintf("%s (%s)", [app.name, app.id])
