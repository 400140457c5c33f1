"""Deaths at every named place (`tasks.failpoints`) while jobs are under way; then the ledger, compared with the bill.

`make failpoints` runs it; `test_failpoints` has one death at each of the places that matter most.
"""
