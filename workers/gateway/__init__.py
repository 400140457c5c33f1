"""The HTTP door: what other services call to have films made and to follow them.

`server` runs what `app` puts together. Routes: `native` (`/v1`, with `usage` and `webhooks`), `dropin` (the provider's
own), `callbacks` (for the provider), `metrics` (for Prometheus), and the pages for people in `reel`. `auth` says who
calls (by `keytext`) and `rates` how often they may, `reading` reads what they send, `taking` takes requests in,
`following` waits for jobs, `files` hands out films, `bodies` and `cursors` are what answers are made of, `problems` is
how errors look. `desk` is what all of them work with.

Nothing here decides what becomes of a job: the doors ask `tasks`.
"""
