"""Focus: this project's own network for pictures of one scene that were focused at different depths.

It selects: what it returns is how much of each source's own pixel belongs in the result. Any number of sources in any
order; a change of the order changes nothing but the order of the weights, to the last bit.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.data.sample import Sample

Stack = Float[Tensor, "m c h w"]  # all sources of all scenes, m = b n, the sources of a scene one after the other
WIDTHS = (16, 24, 40, 48)  # channels at a half, a quarter, an eighth and a sixteenth of the size
DEPTHS = (1, 2, 2, 2)  # stages per size on the way down; one each on the way up
DETAILS = 4  # pairs of filters whose products say who is sharp
GAIN = 8.0  # deviations from the mean are a few hundredths
FAINT = 1e-3  # products of filtered deviations below it, grey levels of about 1, count little


class Agreement(nn.Module):
    """How well what sets a source apart agrees with the details of the scene: the first layer of every size.

    Let one source be sharp, x, and the other blurred, B x. Their mean is (x + B x) / 2 whichever is which; the sharp
    one deviates from it by +(x - B x) / 2, the blurred one by the opposite. So where the deviation has the sign of the
    details of the mean the source is the sharp one, and that holds pixel by pixel, up to the very edge of the choice,
    where measures of sharpness in a window mix both sides. The filters of both are learned; of their product p comes
    p / sqrt(|p| + FAINT), which grows as contrast does.
    """

    def __init__(self, outputs: int, window: int) -> None:
        super().__init__()
        self.scene = nn.Conv2d(1, DETAILS, 5, padding=2, padding_mode="replicate", bias=False)
        self.apart = nn.Conv2d(1, DETAILS, 5, padding=2, padding_mode="replicate", bias=False)
        self.mix = nn.Conv2d(DETAILS + 2, outputs, window, 2, padding=window // 2 - 1)

    def forward(self, mean: Float[Tensor, "b 1 h w"], deviation: Float[Tensor, "m 1 h w"]) -> Float[Tensor, "m d i j"]:
        """Half the size of the scene's mean and of what each source adds to it."""
        product = self.apart(deviation).unflatten(0, (len(mean), -1)) * self.scene(mean).unsqueeze(1)
        product = (product.abs().add_(FAINT).rsqrt_() * product).flatten(0, 1)
        shown = mean.unsqueeze(1).expand(-1, len(deviation) // len(mean), -1, -1, -1).flatten(0, 1)
        return self.mix(torch.cat([product, shown, deviation], 1))


class Fine(nn.Module):
    """x + C relu(x), C a 3x3 convolution: at the large sizes, where few channels are all there is time for."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Stack) -> Stack:
        """As many channels and places as came in."""
        return self.inner(F.relu(x)).add_(x)


class Wide(nn.Module):
    """x + W2 relu(W1 D x): a 5x5 convolution of every channel by itself, and two of 1x1 with twice the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spread = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.widen = nn.Conv2d(width, 2 * width, 1)
        self.narrow = nn.Conv2d(2 * width, width, 1)
        nn.init.normal_(self.narrow.weight, std=0.1 * width**-0.5)

    def forward(self, x: Stack) -> Stack:
        """As many channels and places as came in."""
        return self.narrow(self.widen(self.spread(x)).relu_()).add_(x)


def stage(size: int) -> nn.Module:
    """What a size is worked on with: the first two are large and get `Fine`, the others `Wide`."""
    return (Fine if size < 2 else Wide)(WIDTHS[size])


class Focus(nn.Module):
    """A U-Net that every source goes through, told at every size how it compares with the best of the others.

    At each of four sizes an `Agreement` of the reduced pictures comes in and half of the channels are lowered by the
    largest of the other sources; sub-pixel convolution makes a score of every pixel, the soft-max over the sources the
    weights. Soft edges come out as wide as they pay, there is no threshold and no cleaning. Of one source: weight 1.
    """

    channels, luma, selects, multiple, margin = 1, "full", True, 16, 160

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.ModuleList(Agreement(width, 2 if i else 4) for i, width in enumerate(WIDTHS))
        self.reduce = nn.ModuleList(nn.Conv2d(a, b, 2, 2) for a, b in pairwise(WIDTHS))
        self.down = nn.ModuleList(nn.Sequential(*(stage(i) for _ in range(count))) for i, count in enumerate(DEPTHS))
        self.enlarge = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(WIDTHS))
        self.up = nn.ModuleList(stage(i) for i in range(len(WIDTHS) - 1))
        self.score = nn.Conv2d(WIDTHS[0], 4, 3, padding=1)
        self.to(memory_format=torch.channels_last)  # convolutions of few channels are up to five times faster so

    def forward(self, *sources: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b n h w"]:
        """Weights that sum to 1, of pictures in [0, 1] whose sides are multiples of 16."""
        if len(sources) == 1:
            return torch.ones_like(sources[0])
        scores = self.scores(torch.cat(sources, 1))
        powers = (scores - scores.amax(1, keepdim=True)).exp()
        return powers / in_any_order(powers)

    def scores(self, stack: Float[Tensor, "b n h w"]) -> Float[Tensor, "b n h w"]:
        """One score per source and pixel; a source's own place among the others does not matter."""
        count = stack.shape[1]
        mean = in_any_order(stack) / count
        deviation = GAIN * (stack - mean).flatten(0, 1).unsqueeze(1)
        scene = GAIN * (mean - 0.5)
        features = list[Tensor]()
        for size, (enter, blocks) in enumerate(zip(self.enter, self.down, strict=True)):
            if size:
                scene, deviation = F.avg_pool2d(scene, 2), F.avg_pool2d(deviation, 2)
            x = enter(scene, deviation)
            if features:
                x = compared(x + self.reduce[size - 1](features[-1]), count)
            features.append(blocks(x))
        x = features.pop()
        for enlarge, block in zip(self.enlarge[::-1], self.up[::-1], strict=True):
            x = block(F.interpolate(enlarge(x), scale_factor=2).add_(features.pop()))
        return F.pixel_shuffle(self.score(x), 2).view(stack.shape)


def in_any_order(x: Float[Tensor, "b n *r"]) -> Float[Tensor, "b 1 *r"]:
    """Sum over the sources, smallest first, so that rounding does not depend on their order."""
    return x.sum(1, keepdim=True) if x.shape[1] == 2 else x.sort(1).values.sum(1, keepdim=True)


def compared(x: Stack, count: int) -> Stack:
    """The second half of the channels less the largest that the other sources of the scene have there."""
    own, told = x.chunk(2, 1)
    told = told.unflatten(0, (-1, count))
    if count == 2:
        others = told.flip(1)
    else:
        best = told.topk(2, 1).values
        others = torch.where(told == best[:, :1], best[:, 1:], best[:, :1])
    return torch.cat([own, (told - others).flatten(0, 1)], 1)


def log_error(fused: Float[Tensor, "b c h w"], sample: Sample, role: str = "reference", floor: float = 1e-5) -> Tensor:
    """mean over the patches of log10(mean (F - R)^2 + floor), R the reference: -PSNR / 10 of pictures in [0, 1].

    `floor` (1e-5 is 50 dB) is the error below which a patch is as good as right.
    """
    return ((fused - sample.role(role)).square().mean((1, 2, 3)) + floor).log10().mean()
