"""Losses: one file per term, and their weighted sum; exact over devices, micro-batches and ignored voxels."""
