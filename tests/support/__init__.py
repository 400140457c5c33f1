"""What tests share: real servers started for a test, and those that misbehave; requests, pictures, saved samples and
jobs in every situation; waiting for a condition with a bound.
"""
