"""Random input, much of it wrong on purpose, for what reads the provider's answers and the producers' requests."""
