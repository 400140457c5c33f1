"""What one writes in an afternoon with Celery: the design that the lanes are compared with."""
