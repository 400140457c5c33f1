"""What happens to a job: thin Celery tasks at the top, the domain and the adapters in the folders."""
