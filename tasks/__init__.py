"""What happens to a job: thin Celery tasks at the top, domain and adapters below. Refuses to know what runs it."""
