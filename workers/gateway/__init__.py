"""The HTTP door: what other services call to have films made and to follow them.

`app` puts it together; `native` and `dropin` are its two sets of routes, `auth` says who calls, `problems` how errors
look, `bodies` what answers are made of, `reel` has the pages for people, and `server` runs it. Nothing here decides
what becomes of a job: the doors ask `tasks`.
"""
