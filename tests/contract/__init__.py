"""What one side may rely on of another, held on both: forms that cross a deploy (`samples`), the wheel and the release,
the provider's rules and answers, deployments, dashboards and alerts, and every page beside the code that it tells of.
"""
