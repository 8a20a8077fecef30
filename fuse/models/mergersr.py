"""SuperResolutionMerger: ImageMerger that makes a larger picture, a teaching baseline.

No paper; one of the small networks this project began with.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.models.merger import Merger


class MergerSR(nn.Module):
    """ImageMerger whose features are enlarged `scale` times (bicubic) before the last convolution; as many parameters.

    `simulate`: the sources are shrunk `scale` times first (bicubic, low-passed), so that the result is as large as they
    are and can be held against them, which is how it is trained and scored. Without it, for pictures of your own, the
    result is `scale` times larger.
    """

    luma = "full"

    def __init__(self, sources: int = 2, channels: int = 3, scale: int = 2, simulate: bool = True) -> None:
        """
        Raises:
            ValueError: a scale below 1, or what ImageMerger refuses.
        """
        super().__init__()
        if scale < 1:
            raise ValueError(f"scale={scale}; must be at least 1")
        self.merger = Merger(sources, channels)
        self.channels, self.scale, self.simulate, self.resizes = channels, scale, simulate, not simulate

    def forward(self, *sources: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c y x"]:
        """Fused pictures of pictures in [0, 1]; not clipped, the output layer is linear.

        Raises:
            InputError: another number of sources than it was built for.
        """
        height, width = sources[0].shape[-2:]
        if self.simulate:
            small = -(-height // self.scale), -(-width // self.scale)
            shrunk = [F.interpolate(x, small, mode="bicubic", antialias=True).clamp(0, 1) for x in sources]
            features, size = self.merger.features(*shrunk), (height, width)
        else:
            features, size = self.merger.features(*sources), (height * self.scale, width * self.scale)
        return self.merger.output(F.interpolate(features, size, mode="bicubic"))
