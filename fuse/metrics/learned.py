"""Metrics that need a network somebody else trained; off unless named, and nothing is ever downloaded here.

The networks come with the extra `learned` (torchmetrics, torch-fidelity); their weights must lie where PyTorch keeps
such files, `torch.hub.get_dir()/checkpoints`.
"""

import warnings
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from fuse.errors import InputError
from fuse.metrics.levels import Image, Images, Scores, combined
from fuse.metrics.memo import Memo

Net = Literal["alex", "vgg", "squeeze"]

FILES = {
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
    "inception": "weights-inception-2015-12-05-6726825d.pth",
}
FROM = {
    "inception": "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/",
}
DISTRIBUTION = ("fid", "inception_score")


def weights(network: str) -> Path:
    """The file of a network's weights.

    Raises:
        InputError: the extra is not installed, or the file is not there.
    """
    package = "torch_fidelity" if network == "inception" else "torchmetrics"
    if find_spec("torchmetrics") is None or find_spec(package) is None:
        raise InputError(f"this metric needs {package}: pip install fuse-imaging[learned]")
    path = Path(torch.hub.get_dir(), "checkpoints", FILES[network])
    if not path.is_file():
        source = FROM.get(network, "https://download.pytorch.org/models/") + path.name
        raise InputError(f"this metric needs the weights {path.name}: fetch {source} and put it into {path.parent}")
    return path


@cache
def _network(net: Net) -> Any:
    """The perceptual network with its weights; kept, since reading it takes a second."""
    weights(net)
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    return LearnedPerceptualImagePatchSimilarity(net)


def _distance(fused: Image, other: Image, net: Net) -> Scores:
    network = _network(net).to(fused.device)
    pairs = zip(*((x.float() / 127.5 - 1).expand(-1, 3, -1, -1).split(1) for x in (fused, other)), strict=True)
    return torch.stack([network(*pair) for pair in pairs]).double()


def lpips(
    fused: Image, sources: Images, memo: Memo | None = None, *, combine: str = "mean", net: Net = "alex"
) -> Scores:
    """LPIPS v0.1: squared differences of unit-normalised features with learned weights, summed over layers.

    Grey levels 0..255 as [-1, 1] in three equal channels; mean over the sources. AlexNet by default; VGG gives values
    about 1.5 times as large. Zhang et al., CVPR 2018.

    Raises:
        InputError: the network or its weights are not here.
    """
    return combined([_distance(fused, source, net) for source in sources], combine)


def lpips_ref(fused: Image, reference: Image, memo: Memo | None = None, *, net: Net = "alex") -> Scores:
    """LPIPS to the reference, as `lpips`.

    Raises:
        InputError: the network or its weights are not here.
    """
    return _distance(fused, reference, net)


class Distribution:
    """Frechet Inception Distance and Inception Score of a whole set of pictures; both want thousands of pictures.

    FID (Heusel et al. 2017) compares Gaussians of 2048 Inception features of the fused pictures with those of the
    pictures they should look like; with fewer than 2048 pictures its covariances are singular and its value says
    little. IS is exp of the mean KL divergence between class probabilities and their mean (Salimans et al. 2016).
    Lower FID, higher IS are called better.
    """

    def __init__(self, names: Iterable[str], network: torch.nn.Module | None = None) -> None:
        """
        `network`: features and class logits in place of Inception's, for tests and other networks.

        Raises:
            InputError: an unknown name, or the network or its weights are not here.
        """
        self.names, self.pictures = list(names), 0
        if unknown := [name for name in self.names if name not in DISTRIBUTION]:
            raise InputError(f"distribution={unknown}: choose from {', '.join(DISTRIBUTION)}")
        if network is None:
            weights("inception")  # which torch_fidelity finds by itself
        from torchmetrics.image.fid import FrechetInceptionDistance
        from torchmetrics.image.inception import InceptionScore

        makers = {"fid": FrechetInceptionDistance, "inception_score": InceptionScore}
        given: dict[str, Any] = {} if network is None else {"feature": network}
        with warnings.catch_warnings(action="ignore"):  # that features are kept, which a few hundred pictures can bear
            self.meters = {name: makers[name](**given) for name in self.names}

    def add(self, fused: Tensor, real: Iterable[Tensor]) -> None:
        """A fused picture `(1, c, h, w)` of 8 bit, and the pictures it is held against."""
        self.pictures += 1
        for name, meter in self.meters.items():
            if name == "fid":
                meter.update(fused.expand(-1, 3, -1, -1), real=False)
                for picture in real:
                    meter.update(picture.expand(-1, 3, -1, -1), real=True)
            else:
                meter.update(fused.expand(-1, 3, -1, -1))

    def values(self) -> dict[str, float]:
        """The value of each; NaN for less than two pictures."""
        if self.pictures < 2:
            return dict.fromkeys(self.names, float("nan"))
        found = {name: meter.compute() for name, meter in self.meters.items()}
        return {name: float(value[0] if isinstance(value, tuple) else value) for name, value in found.items()}
