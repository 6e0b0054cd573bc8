"""Commands: the border to the user, and the only place that reads YAML."""
