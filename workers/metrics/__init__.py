"""What the gateway shows of the whole at `/metrics`: read from ledger and Redis at a scrape, so that no process keeps
figures of its own.

`catalog` names every series, `families` makes them of what was read, and `collector` reads. Nothing here changes
anything, or is needed for a job to go on.
"""
