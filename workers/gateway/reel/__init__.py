"""The reel: the gateway's own pages, on which people see their tenant's jobs, films and costs, and cancel and retry.

`pages` has the views, `session` says who looks, `shapes` reckons what is drawn, `shown` writes figures for people, and
`leaving` what goes with every answer. The pages are whole without JavaScript, which only keeps them fresh.
"""
