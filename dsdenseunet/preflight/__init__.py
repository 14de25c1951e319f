"""Whether this GPU, with the libraries that are installed for it, computes this run's network correctly."""
