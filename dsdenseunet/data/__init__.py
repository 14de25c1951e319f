"""From files on disk to batches: NIfTI, LiTS layout, cache, patches, augmentation (NumPy and Grain only)."""
