"""From a folder of labelled scans to a config: what is chosen, and why."""
