"""Block exports: what makes nodes visible outside of the daemon."""
