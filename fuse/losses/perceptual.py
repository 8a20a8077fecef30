"""Terms on features of a frozen network: what is shown (content), and how (style).

`features` is one of `fuse/losses/networks.py`; `layers` gives the layers that count a weight each (all count 1 without
it). Means run over channels, places and the batch, so a layer's size does not weigh it; the scale of its features does.
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.losses.terms import sum_over

Picture = Float[Tensor, "b c h w"]
Features = Callable[[Tensor], Mapping[str, Tensor]]
Layers = Mapping[str, float] | None


def content(fused: Picture, sample: Sample, role: str, features: Features, layers: Layers = None) -> Tensor:
    """sum_l a_l mean (phi_l(F) - phi_l(I))^2, I one source or the reference.

    LRRNet 1.5: VGG-16 relu1_2 to the visible picture. UFGAN 1: VGG-19 conv4_4 to the visible one. IFCNN: ResNet-101 to
    the reference.
    """
    return compared(features(fused), features(sample.role(role)), layers, F.mse_loss)


def content_mixture(
    fused: Picture, sample: Sample, shares: Mapping[str, float], features: Features, layers: Layers = None
) -> Tensor:
    """sum_l a_l mean (phi_l(F) - sum_r s_r phi_l(I_r))^2, s_r the share of role r; shares need not sum to 1.

    LRRNet: VGG-16 {relu2_2: 0.01, relu3_3: 0.5}, shares {ir: 3.0, vi: 0.5}.
    """
    parts = [(share, features(sample.role(role))) for role, share in shares.items()]
    wanted = {name: torch.stack([share * seen[name] for share, seen in parts]).sum(0) for name in parts[0][1]}
    return compared(features(fused), wanted, layers, F.mse_loss)


def style(fused: Picture, sample: Sample, role: str, features: Features, layers: Layers = None) -> Tensor:
    """sum_l a_l mean (G_l(F) - G_l(I))^2, G_l the Gram matrix of a picture's features (Gatys et al. 2016).

    Gram matrices forget where things are: use it next to a term of intensity. LRRNet 2000: VGG-16 relu4_3 to infrared.
    UFGAN 1e3 to 1e4: VGG-19 conv1_1 to conv5_1 to infrared.
    """

    def apart(made: Tensor, wanted: Tensor) -> Tensor:
        return F.mse_loss(gram(made), gram(wanted))

    return compared(features(fused), features(sample.role(role)), layers, apart)


def gram(maps: Float[Tensor, "b k y x"]) -> Float[Tensor, "b k k"]:
    """F F^T / (k y x) of every picture, F the features as k rows."""
    rows = maps.flatten(2)
    return rows @ rows.mT / (rows.shape[1] * rows.shape[2])


def compared(
    made: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    layers: Layers,
    apart: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Weighted sum over the layers.

    Raises:
        InputError: a layer that the network does not show.
    """
    weights = dict.fromkeys(made, 1.0) if layers is None else layers
    if unknown := [name for name in weights if name not in made]:
        raise InputError(f"layers: the features have no {unknown[0]}; they are {', '.join(made)}")
    return sum_over(weight * apart(made[name], wanted[name]) for name, weight in weights.items())
