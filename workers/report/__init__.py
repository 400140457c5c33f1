"""The report of a span of time: one page that holds all it shows, to be sent on; one row a job for those who reckon.

`figures` sums up, `rows` writes the table, `sheet` takes pictures out of films, and `page` puts it together. Refuses
prompts, pictures of input and addresses of others.
"""
