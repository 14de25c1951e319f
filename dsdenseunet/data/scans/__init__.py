"""Image files: NIfTI headers and voxels, and where they lie in folders."""
