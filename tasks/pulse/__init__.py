"""Pulse: the only room that knows Redis keys and Lua. Refuses SQL and HTTP.

All it holds can be wiped and filled again from the ledger.
"""

from .connection import Pulse, PulseError

__all__ = ["Pulse", "PulseError"]
