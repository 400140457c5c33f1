"""Dashboards for Grafana: a module says what each shows, `drawing` makes JSON of it, and `python -m ops.grafana` writes
the files that Grafana is given. Refuses to know Grafana itself.
"""
