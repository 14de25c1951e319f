"""Memory and operation counts of compiled programs."""
