"""Ours beside the same work in PyTorch and in XLA's own forms, measured in one run."""
