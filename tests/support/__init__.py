"""What tests and proofs share: real servers and workers as processes, and servers that misbehave; requests, pictures
and saved samples; the bench, on which a job's steps are taken one by one, and jobs in every situation; readers of what
was answered and shown; waiting for a condition, with a bound.
"""
