"""What an NVIDIA GPU gives: ours beside PyTorch, the paper's schedule, a whole scan, the floor."""
