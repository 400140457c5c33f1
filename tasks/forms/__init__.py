"""How a job is written for those who asked for it, and who look on: by doors, webhooks and traces. Refuses to look for
anything itself.

One form for each way of asking, whoever writes it: an answer of the gateway and a webhook can't differ.
"""
