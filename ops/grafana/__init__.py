"""Dashboards for Grafana: a module says what each shows, `drawing` makes JSON of it, and `python -m ops.grafana` writes
the files that Grafana is given (`dashboards`, which nobody edits). `provisioning` has Grafana find these and
Prometheus. Refuses to know Grafana itself.
"""
