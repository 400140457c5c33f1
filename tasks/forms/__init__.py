"""How a job is written for those who asked for it: the forms of the doors and of the messages that callers are sent.

One form for each way of asking, whoever writes it: an answer of the gateway and a webhook can't differ.
"""
