"""A training protocol that makes its own task: one picture, sharp and blurred, and the question which is which."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.metrics.windows import gaussian, smooth
from fuse.steps import Direct, Loss, Terms, Update


class SharpOrBlurred:
    """`Direct` on pairs made of single pictures: the picture and a blurred copy, in random order; the picture is truth.

    The pictures are the references, or all sources where the data have none. Each copy is blurred by a `kernel` x
    `kernel` Gaussian of `sigma` pixels, once to `most` times in succession: so CNN-based fusion of focus and of medical
    pictures is trained (Liu et al. 2017). Borders of a patch are reflected at every blur.
    """

    roles = ("first", "second", "reference")  # what its loss can name

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        loss: Loss,
        update: Update,
        kernel: int = 7,
        sigma: float = 2.0,
        most: int = 5,
    ) -> None:
        """
        Raises:
            InputError: a kernel without a centre, no blur at all.
        """
        if kernel < 3 or kernel % 2 == 0 or sigma <= 0 or most < 1:
            raise InputError(
                f"model.step: kernel={kernel}, sigma={sigma}, most={most}; kernel is odd and at least 3, "
                "sigma above 0, most at least 1"
            )
        self.direct = Direct(networks, loss, update)
        self.taps, self.most = gaussian(kernel, sigma), most

    def __call__(self, sample: Sample, step: int, generator: torch.Generator) -> Terms:
        sharp = torch.cat(sample.sources) if sample.reference is None else sample.reference
        blurred = self.blurred(sharp, generator)
        swap = torch.randint(2, (len(sharp), 1, 1, 1), generator=generator, device=sharp.device).bool()
        pair = torch.where(swap, blurred, sharp), torch.where(swap, sharp, blurred)
        return self.direct(Sample(pair, sharp, (), ("first", "second")), step, generator)

    def blurred(self, sharp: Float[Tensor, "b c h w"], generator: torch.Generator) -> Float[Tensor, "b c h w"]:
        """Every picture blurred a random number of times."""
        times = torch.randint(1, self.most + 1, (len(sharp), 1, 1, 1), generator=generator, device=sharp.device)
        result, margin = sharp, len(self.taps) // 2
        for done in range(self.most):
            more = smooth(F.pad(result, (margin,) * 4, mode="reflect"), self.taps)
            result = torch.where(times > done, more, result)
        return result
