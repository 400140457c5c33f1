"""The product on real servers: Valkey, SQLite and PostgreSQL, an object store, the simulator, workers as processes.

Fixtures (`conftest.py`) give each test a Redis and a database of its own; what starts the rest is in `tests.support`.
"""
