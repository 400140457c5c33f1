"""The reel: the gateway's own pages, on which people see their tenant's jobs, films and costs, and cancel and retry.

`pages` has the views, `session` says who looks, and `leaving` what goes with every answer; what is drawn, and how
figures are written, is `workers.showing`. The pages are whole without JavaScript, which only keeps them fresh.
"""
