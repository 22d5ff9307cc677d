# METADATA
# title: Words that several policies use
package patrol.lib

# METADATA
# description: A number of days in words, for messages.
days(0) := "less than a day"

days(n) := counted(n, "day") if n != 0

# METADATA
# description: A number of things, as in 1 user, 2 users.
counted(1, noun) := sprintf("1 %s", [noun])

counted(n, noun) := sprintf("%v %ss", [n, noun]) if n != 1

# METADATA
# description: The day of an RFC 3339 instant in UTC.
day(instant) := substring(instant, 0, 10)

# METADATA
# description: Whether a list holds a text, in any letter case.
one_of(text, list) if {
	some item in list
	lower(item) == lower(text)
}
