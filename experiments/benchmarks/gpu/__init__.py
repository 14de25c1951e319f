"""Measurements on an NVIDIA GPU: ours beside PyTorch, the paper's schedule, a whole scan, the floor."""
