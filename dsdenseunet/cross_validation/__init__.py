"""Several runs of one config, for folds and seeds, and the scores of all cases together."""
