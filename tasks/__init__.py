"""What happens to a job: thin Celery tasks, what these share, adapters, and the domain below all of them.

Refuses to know what runs it.
"""
