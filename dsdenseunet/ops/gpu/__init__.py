"""Fast forms of convolutions on NVIDIA GPUs, equal to the plain ones."""
