"""Outputs and inputs as files: fetched, checked and kept. Refuses to know the provider's JSON, SQL and Redis."""
