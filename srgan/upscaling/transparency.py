"""Pictures with transparent parts: what cannot be seen has no part in what can.

Where a pixel is fully transparent its colour means nothing; editors leave black, white or anything
there. A network looks at it all the same, so cut-outs would get a fringe of that colour.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def with_colours_bled(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours in which each fully transparent pixel has that of the nearest other one.

    Args:
        colours: height x width x bands.
        alpha: height x width, 0 where nothing can be seen.

    Returns:
        Of the same shape and type; as it was where everything, or nothing, can be seen.
    """
    hidden = alpha == 0
    if hidden.all() or not hidden.any():
        return colours
    nearest = ndimage.distance_transform_edt(hidden, return_distances=False, return_indices=True)
    return colours[tuple(nearest)]
