"""3D-DenseUNet-569: liver and tumour segmentation of CT volumes in JAX and Flax."""

__version__ = "0.1.0"
