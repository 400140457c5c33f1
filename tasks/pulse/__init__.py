"""Pulse: the only room that knows Redis keys and Lua. Refuses SQL and HTTP.

All it holds can be wiped: what jobs need of it is filled again from the ledger, what was learned is learned anew, and
sums begin anew. Only requests and commands that no lane has taken yet are lost with it.
"""

from .connection import Pulse, PulseError

__all__ = ["Pulse", "PulseError"]
