"""Thermal: this project's own network for infrared and visible pictures, or whatever else sees differently.

Every pixel is a mixture of the sources' pixels there, so nothing comes out that no source has: no halo, no veil, no new
noise. It is trained for the source that is served worst; a label says how much contrast counts beside similarity.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse.data.sample import Sample
from fuse.models.focus import Fine, Stack, Wide, compared, in_any_order
from fuse.shares import portion

WIDTHS = (20, 32, 48, 64, 80)  # channels at a half, a quarter, ... and a thirty-second of the size
DEPTHS = (1, 1, 2, 2, 2)  # stages per size on the way down; one each on the way up
ENERGIES = 6  # filters whose responses are taken without their sign
FAINT = 2 / 255  # difference of sources at which it hardly matters which one is taken
EVEN = 0.02  # weight that a source has at least before anything is learned
LARGEST = 8.0  # score; where the choice is hard nothing more is learned, and once it was so everywhere


class Contrast(nn.Module):
    """What a source shows at a place, beside what all show: the first layer of every size, at half of it.

    Of the source: its deviation from the mean of all, and |f x| for learned filters f of 5x5, blind to whether
    warm is bright. Of the scene: that mean. What comes out is scaled and shifted by the label.
    """

    def __init__(self, outputs: int, window: int) -> None:
        super().__init__()
        self.filters = nn.Conv2d(1, ENERGIES, 5, padding=2, padding_mode="replicate", bias=False)
        self.mix = nn.Conv2d(ENERGIES + 2, outputs, window, 2, padding=window // 2 - 1)
        self.label = nn.Linear(1, 2 * outputs)
        nn.init.zeros_(self.label.weight)
        nn.init.zeros_(self.label.bias)

    def forward(
        self, mean: Float[Tensor, "b 1 h w"], deviation: Float[Tensor, "m 1 h w"], label: Float[Tensor, "m 1"]
    ) -> Float[Tensor, "m d i j"]:
        """Half the size of the scene's mean and of what each source adds to it."""
        shown = mean.unsqueeze(1).expand(-1, len(deviation) // len(mean), -1, -1, -1).flatten(0, 1)
        energies = self.filters(shown + deviation).abs()
        scale, shift = self.label(label)[..., None, None].chunk(2, 1)
        return self.mix(torch.cat([energies, shown, deviation], 1)) * (1 + scale) + shift


def stage(size: int) -> nn.Module:
    """What a size is worked on with: the first two are large and get `Fine`, the others `Wide`."""
    return (Fine if size < 2 else Wide)(WIDTHS[size])


class Thermal(nn.Module):
    """A U-Net that every source goes through, told at every size how it compares with the best of the others.

    F = sum_n w_n x_n, w the soft-max over the sources of its scores: F lies between the darkest and the brightest
    source at every pixel, the order of the sources does not matter, and any number of them works. `balance` in [0, 1]
    is set in use (`fuse --balance`): 0 stays as similar as possible to all sources, 1 brings out what tells them apart.
    While training, every picture draws its own (0 and 1 one time in six each, else any), found inside as `balance`.
    """

    channels, luma, multiple, margin, surveys = 1, "full", 32, 320, True

    def __init__(self, balance: float = 0.5) -> None:
        """
        Raises:
            ValueError: a balance outside [0, 1].
        """
        super().__init__()
        if not 0 <= balance <= 1:
            raise ValueError(f"balance={balance}: must be from 0 to 1")
        self.balance = balance
        self.enter = nn.ModuleList(Contrast(width, 2 if i else 4) for i, width in enumerate(WIDTHS))
        self.reduce = nn.ModuleList(nn.Conv2d(a, b, 2, 2) for a, b in pairwise(WIDTHS))
        self.down = nn.ModuleList(nn.Sequential(*(stage(i) for _ in range(count))) for i, count in enumerate(DEPTHS))
        self.enlarge = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(WIDTHS))
        self.up = nn.ModuleList(stage(i) for i in range(len(WIDTHS) - 1))
        self.score = nn.Conv2d(WIDTHS[0], 4, 3, padding=1, bias=False)
        self.lead = nn.Parameter(torch.tensor([0.5, 0.5]))
        self.to(memory_format=torch.channels_last)  # convolutions of few channels are up to five times faster so

    def forward(
        self, *sources: Float[Tensor, "b 1 h w"], levels: Float[Tensor, "b 3"] | None = None
    ) -> Float[Tensor, "b 1 h w"] | tuple[Float[Tensor, "b 1 h w"], dict[str, Tensor]]:
        """Fused luma in [0, 1], sides multiples of 32; in training also the labels drawn.

        `levels`: the survey of the pictures of which these are parts; None: these are whole.
        """
        count = sources[0].shape[0]
        drawn = (1.5 * torch.rand(count, 1) - 0.25).clamp(0, 1) if self.training else None
        balance = torch.full((count, 1), self.balance) if drawn is None else drawn
        balance = balance.to(sources[0])
        stack = torch.cat(sources, 1)
        fused = self.joined(stack, self.scores(stack, balance, levels)) if len(sources) > 1 else stack
        if not self.training:
            return fused
        return fused, {"balance": balance[..., None, None]}

    def joined(self, stack: Float[Tensor, "b n h w"], scores: Float[Tensor, "b n h w"]) -> Float[Tensor, "b 1 h w"]:
        """sum_n e^s_n x_n / sum_n e^s_n, no bit of which depends on the order of the sources."""
        powers = (scores - scores.amax(1, keepdim=True)).exp()
        return in_any_order(powers * stack) / in_any_order(powers)

    def start(self, stack: Float[Tensor, "b n h w"], middle: Float[Tensor, "b 1 1 1"]) -> Float[Tensor, "b n h w"]:
        """Scores at balance 1 before anything is learned; `middle` is the mean of all pictures."""
        return distinct(stack, middle)

    def survey(self, *sources: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 3"]:
        """How many places show anything, and the sums over them of the sources' mean and of that of their square roots.

        The surveys of the parts of a picture add up to its own.
        """
        stack = torch.cat(sources, 1).clamp_min(0)
        total = in_any_order(stack)
        each = [torch.ones_like(total), total / len(sources), in_any_order(stack.sqrt()) / len(sources)]
        return (torch.cat(each, 1) * (total > 0)).sum((2, 3), dtype=torch.float64)

    def scores(
        self, stack: Float[Tensor, "b n h w"], balance: Float[Tensor, "b 1"], levels: Float[Tensor, "b 3"] | None = None
    ) -> Float[Tensor, "b n h w"]:
        """One score per source and pixel, from -8 to 8; a source's own place among the others does not matter.

        What the U-Net sees are square roots, so that night has contrast too, less the mean of the whole scene and
        divided by its deviation. `distinct` leads as far as the label says: from the start not at 0, and all at 1.
        """
        count = stack.shape[1]
        label = 2 * balance - 1
        levels = self.survey(*stack.split(1, 1)) if levels is None else levels
        light, root = (levels[:, 1:] / levels[:, :1].clamp_min(1))[..., None, None, None].unbind(1)
        lead = (self.lead[0] + self.lead[1] * label)[..., None, None] * self.start(stack, light.to(stack))
        seen = stack.clamp_min(0).sqrt()
        mean = in_any_order(seen) / count
        middle = root.to(stack)
        spread = (light - root.square()).clamp_min(FAINT**2).sqrt().to(stack)
        scene, deviation = (mean - middle) / spread, ((seen - mean) / spread).flatten(0, 1).unsqueeze(1)
        label = label.repeat_interleave(count, 0)
        features = list[Stack]()
        for size, (enter, blocks) in enumerate(zip(self.enter, self.down, strict=True)):
            if size:
                scene, deviation = F.avg_pool2d(scene, 2), F.avg_pool2d(deviation, 2)
            x = enter(scene, deviation, label)
            if features:
                x = compared(x + self.reduce[size - 1](features[-1]), count)
            features.append(blocks(x))
        x = features.pop()
        for enlarge, block in zip(self.enlarge[::-1], self.up[::-1], strict=True):
            x = block(F.interpolate(enlarge(x), scale_factor=2) + features.pop())
        return LARGEST * ((F.pixel_shuffle(self.score(x), 2).view(stack.shape) + lead) / LARGEST).tanh()


def distinct(stack: Float[Tensor, "b n h w"], middle: Float[Tensor, "b 1 1 1"]) -> Float[Tensor, "b n h w"]:
    """Scores of the mixture in which every source is what the result has beside the others, as SCD wants it.

    Of two sources: F = a + b - c, c = `middle` the mean of both pictures, cut to between a and b. As a weight of a
    that is t = (a - c) / (a - b), cut to 0.02 .. 0.98, and the scores of a and b are log(t / (1 - t)) / 2 and its
    negative; of more sources, b is the mean of the others.
    """
    count = stack.shape[1]
    apart = stack - (in_any_order(stack) - stack) / (count - 1)
    share = ((stack - middle) * apart + FAINT**2 / 2) / (apart.square() + FAINT**2)
    return share.clamp(EVEN, 1 - EVEN).logit() / 2


def asked(
    fused: Float[Tensor, "b c h w"],
    sample: Sample,
    term: Callable[[Tensor, Sample], Tensor],
    similar: float,
    even: float,
    distinct: float,
) -> Float[Tensor, ""]:
    """A term, weighted picture by picture as its label asks.

    The weight is `similar` at balance 0, `even` at one half, `distinct` at 1, and linear between.
    """
    values = []
    for i, share in enumerate(sample.inside["balance"].flatten()):
        weight = similar + 2 * share * (even - similar) if share < 0.5 else even + (2 * share - 1) * (distinct - even)
        values.append(weight * term(fused[i : i + 1], portion(sample, i, 1)))
    return torch.stack(values).mean()


def dimmed(fused: Float[Tensor, "b 1 h w"], sample: Sample, deviations: float = 2.0) -> Float[Tensor, ""]:
    """How much darker bright things come out: mean of max(x_n - F, 0) where x_n > mean + `deviations` std of x_n.

    Lamps of the visible picture count as warm targets of the infrared one do; a source without such places counts 0.
    """
    losses = []
    for source in sample.sources:
        std, mean = torch.std_mean(source, (1, 2, 3), keepdim=True)
        bright = (source > mean + deviations * std).to(source)
        losses.append(((source - fused).relu() * bright).sum() / bright.sum().clamp_min(1))
    return torch.stack(losses).mean()
