"""How far two pictures, or two maps of features, are apart at every place."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from fuse.errors import InputError
from fuse.metrics.windows import gaussian, smooth

Distance = Literal["l1", "l2", "huber", "gaussian_l1"]
WIDE = gaussian(33, 8.0)


def apart(x: Float[Tensor, "b c h w"], y: Float[Tensor, "b c h w"], distance: Distance) -> Float[Tensor, "b c h w"]:
    """Distance of x and y at every place, in the unit of the pictures or, for l2, its square.

    `l1`: |x - y|. `l2`: (x - y)^2, whose mean is the MSE. `huber`: (x - y)^2 / 2 up to a difference of 1, |x - y| - 1/2
    beyond: on [0, 1] half the square everywhere. `gaussian_l1`: |x - y| under a Gaussian of sigma 8 (33 taps, zeros
    outside), which spreads an error over its surroundings (Zhao et al. 2017).

    Raises:
        InputError: any other word.
    """
    if distance == "l1":
        return (x - y).abs()
    if distance == "l2":
        return (x - y).square()
    if distance == "huber":
        return F.huber_loss(x, y, reduction="none")
    if distance == "gaussian_l1":
        return smooth(F.pad((x - y).abs(), (16,) * 4), WIDE)
    raise InputError(f"distance='{distance}' is not known; use l1, l2, huber or gaussian_l1")
