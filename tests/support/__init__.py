"""What tests and proofs share: real servers and workers as processes, some that misbehave on purpose; the bench, on
which a job's steps are taken one by one, and the situations that it gets into there; readers of what was answered and
shown; waiting for a condition, with a bound.
"""
