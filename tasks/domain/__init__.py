"""Pure rules: no I/O, no clock, no Celery. What is true of a job, and what to do next, as values."""
