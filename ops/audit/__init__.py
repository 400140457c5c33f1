"""Holds the locked packages against the known vulnerabilities. Refuses to pass where nothing was looked up."""
