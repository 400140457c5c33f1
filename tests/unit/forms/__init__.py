"""How a job is written for those who look on."""
