"""H-DenseUNet (Li et al., TMI 2018, arXiv 1709.07330) and the two dense U-Nets that it is made of.

Written after the layers and widths of the authors' release (xmengli/H-DenseUNet, commit 06cc436), which is
Keras for TensorFlow 1 and does not run with today's libraries: counts and shapes are held to those of its
networks by tests, values are not. `parts` has the layers, `branch` the dense U-Net in 2D or 3D, `alone` each
of the two as a network of its own, `hybrid` both together.
"""
