"""What runs the tasks: settings, pools, supervisor, command line, gateway, metrics. Refuses to decide about a job."""
