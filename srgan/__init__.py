"""SRGAN x4 super-resolution (Ledig et al., CVPR 2017, arXiv 1609.04802).

Arrays of pixels are uint8, height x width x 3, RGB; batches of tensors are N x 3 x H x W.
A network takes low resolution in [0, 1] and returns high resolution in [-1, 1], as the paper does.
"""

SCALE = 4
"""Factor between low and high resolution, the same in both directions."""
