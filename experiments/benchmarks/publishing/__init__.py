"""From results in docs/results to the tables of the documents."""
