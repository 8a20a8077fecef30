"""Small, narrow and odd sizes in every container, by a rule that looks at single pixels and with nothing chosen."""

from collections.abc import Iterator
from functools import partial

import numpy as np
from zoo_case import Case, Picture, filed, noise, png, smooth
from zoo_kinds import bmp, decoded, pil, tif

SIZES = ((1, 1), (1, 2), (2, 1), (2, 2), (1, 7), (7, 1), (3, 3), (7, 5), (1, 301), (301, 1), (17, 31), (33, 64))


def sizes() -> Iterator[Case]:
    """Height and width by container."""
    for height, width in SIZES:
        colour, deep = noise(height, width, 3), noise(height, width, 1, np.uint16)
        ramps = smooth(height, width, 3)
        for name, suffix, data, want in (
            ("png", ".png", partial(png, colour, 8, 2), partial(Picture, colour)),
            ("png 16 bit interlaced", ".png", partial(png, deep, 16, 0, interlaced=True), partial(Picture, deep)),
            ("tiff", ".tif", partial(tif, deep[..., 0]), partial(Picture, deep)),
            ("bmp", ".bmp", partial(bmp, colour[..., ::-1], 8), partial(Picture, colour)),
            ("webp", ".webp", partial(pil, colour, "WEBP", lossless=True), partial(Picture, colour)),
        ):
            yield filed(f"{name} of {width}x{height}", f"odd{suffix}", data, "picture", lambda want=want: [want()])
        jpeg = partial(pil, ramps, "JPEG", quality=95)
        near = partial(decoded, jpeg(), tolerance=3)
        yield filed(f"jpeg of {width}x{height}", "odd.jpg", jpeg, "picture", lambda near=near: [near()])
        data, want = partial(png, colour, 8, 2), Picture(colour, tolerance=1)
        yield filed(
            f"{width}x{height} with nothing chosen", "odd.png", data, "picture", lambda want=want: [want], flags=()
        )


CASES = [*sizes()]
