"""The groups of figures: each measures together what needs the same processes."""
