"""Where runs are played, beside this process."""
