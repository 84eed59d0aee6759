"""What every job needs and no model knows: options, run folder, Spark session, exit codes."""
