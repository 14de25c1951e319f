"""Losses: a term a file, and their weighted sum; exact over devices, micro-batches and ignored voxels."""
