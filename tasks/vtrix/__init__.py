"""The provider's room: the only one that knows its endpoints and its JSON. Refuses to know Celery, SQL and Redis."""
