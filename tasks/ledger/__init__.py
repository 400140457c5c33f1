"""The ledger: the only room that knows SQL. What is promised or paid stands here before anyone acts on it."""

from .database import Ledger, LedgerError, Transaction, url_problem
from .migrate import SchemaOutdated

__all__ = ["Ledger", "LedgerError", "SchemaOutdated", "Transaction", "url_problem"]
