package patrol.lib_test

import data.patrol.lib

test_days_none if lib.days(0) == "less than a day"

test_days_one if lib.days(1) == "1 day"

test_days_past if lib.days(-3) == "-3 days"

test_days_many if lib.days(365) == "365 days"

test_day if lib.day("2026-03-01T23:59:59Z") == "2026-03-01"

test_one_of_ignores_case if lib.one_of("Example.COM", ["example.org", "eXample.com"])

test_one_of_needs_the_whole_text if not lib.one_of("example.com.org", ["example.com"])

test_mailbox_ignores_case_and_plus if lib.mailbox("Ann+ci+x@Example.com") == "ann@example.com"

test_mailbox_of_others if lib.mailbox("7000000000000000001") == "7000000000000000001"

test_one_of_nothing if not lib.one_of("example.com", [])
