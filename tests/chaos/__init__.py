"""The chaos run: a real stack, real producers, and a seeded schedule of harm, reckoned up against the provider's bill.

`make chaos` and `make soak` run it; `test_chaos` runs a small one. See `tests.chaos.__main__`.
"""
