"""What `workers` decides without a server: settings, command lines, configuration, what is shown."""
