"""What the ledger makes of rows, without a database; all else of it needs one: `tests/integration`."""
