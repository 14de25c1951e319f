"""Comparisons with PyTorch on CPUs."""
