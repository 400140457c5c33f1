"""Any order of events, against a model that knows the design alone: `make model`."""
