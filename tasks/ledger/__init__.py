"""The ledger: the only room that knows SQL. Refuses Redis, Celery and HTTP.

What is promised or paid stands here before anyone acts on it.
"""

from .database import Ledger, LedgerConflict, LedgerError, Transaction, url_problem
from .migrate import SchemaMismatch

__all__ = ["Ledger", "LedgerConflict", "LedgerError", "SchemaMismatch", "Transaction", "url_problem"]
