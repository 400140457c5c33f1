"""Of `schemas`, what needs no server: requests and their refusals, models, pictures, addresses, what the package costs.

What producers do with a Redis and a gateway is in `tests/integration`, what crosses a deploy in `tests/contract`.
"""
