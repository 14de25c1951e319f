"""The paper's tables and figures beside ours, from records of `experiments.reproduce`."""
