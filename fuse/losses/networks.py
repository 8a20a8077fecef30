"""Frozen networks that losses look through: pictures `(b, c, h, w)` in, maps of features by the name of the layer out.

A recipe builds one where a term asks for `features`: `features: {_target_: fuse.losses.networks.ImageNet, ...}`. `span`
is the recipe's range. Nothing is ever downloaded here; what is used is written to the log of the run.
"""

import inspect
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fuse import checkpoint
from fuse.errors import InputError
from fuse.losses.gradient import differences
from fuse.losses.terms import laplacian

log = logging.getLogger(__name__)

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's RGB in [0, 1]
BLOCKS = {
    "vgg16": ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"),
    "vgg19": ("relu1_2", "relu2_2", "relu3_4", "relu4_4", "relu5_4"),
    "resnet101": ("layer1", "layer2", "layer3", "layer4"),
}


class ImageNet:
    """VGG-16, VGG-19 or ResNet-101 with torchvision's ImageNet weights, which must lie in the local torch hub cache.

    Layers are `conv1_1`, `relu1_1` ... `relu5_3` (`relu5_4`) of VGG and `relu`, `layer1` ... `layer4` of ResNet; by
    default the last of every block. Grey pictures are shown as RGB. `normalise`: ImageNet's mean and deviation, which
    the weights want, after `span` is brought to [0, 1]; without, pictures go in as the recipe has them (LRRNet, UFGAN).
    """

    def __init__(
        self,
        network: str = "vgg16",
        layers: Sequence[str] | None = None,
        normalise: bool = True,
        span: Sequence[float] = (0.0, 1.0),
    ) -> None:
        """
        Raises:
            InputError: an unknown network or layer, weights that are not in the cache or damaged.
        """
        if network not in BLOCKS:
            raise InputError(f"features.network={network}: choose {', '.join(BLOCKS)}")
        self.layers, self.normalise, self.span = tuple(layers or BLOCKS[network]), normalise, span
        self.stages = stages(network, self.layers)
        log.info("loss through %s, layers %s, ImageNet weights", network, ", ".join(self.layers))

    def __call__(self, picture: Tensor) -> dict[str, Tensor]:
        """Maps `(b, k, y, x)` of the layers."""
        self.stages.to(picture)
        x = picture.expand(-1, 3, -1, -1)
        if self.normalise:
            mean, deviation = (x.new_tensor(values).view(3, 1, 1) for values in (MEAN, DEVIATION))
            x = ((x - self.span[0]) / (self.span[1] - self.span[0]) - mean) / deviation
        seen = {}
        for name, stage in self.stages.items():
            x = stage(x)
            seen[name] = x
        return {name: seen[name] for name in self.layers}


class Encoder:
    """Encoder of an auto-encoder of ours (DenseFuse and its like), from a checkpoint or run folder.

    `inside`: the range its `encode` takes. One map of features is called `encoder`, several `encoder1`, `encoder2`, ...
    """

    def __init__(self, path: str, inside: Sequence[float] = (0.0, 255.0), span: Sequence[float] = (0.0, 1.0)) -> None:
        """
        Raises:
            InputError: no checkpoint there, or one of a fuser without an encoder.
        """
        fuser, _ = checkpoint.load(Path(path))
        encode = getattr(fuser, "encode", None)
        if not callable(encode):
            raise InputError(f"{path} holds a {type(fuser).__name__}, which has no encoder; train model=densefuse")
        self.fuser, self.encode = fuser.requires_grad_(False), encode
        self.gain = (inside[1] - inside[0]) / (span[1] - span[0])
        self.shift = inside[0] - self.gain * span[0]
        log.info("loss through the encoder of %s, %s", path, checkpoint.digest(Path(path)))

    def __call__(self, picture: Tensor) -> dict[str, Tensor]:
        """Maps `(b, k, y, x)` of the encoder."""
        self.fuser.to(picture)
        made = self.encode(self.gain * picture + self.shift)
        if isinstance(made, Tensor):
            return {"encoder": made}
        return {f"encoder{i}": maps for i, maps in enumerate(made, start=1)}


class Sensor:
    """A network of ours that makes a picture of one picture, frozen, from a checkpoint or run folder.

    Trained, for instance, to tell from a fused picture what the infrared camera saw.
    """

    def __init__(self, path: str, span: Sequence[float] = (0.0, 1.0)) -> None:
        """
        Raises:
            InputError: no checkpoint there, or one of a network that wants several pictures.
        """
        fuser, _ = checkpoint.load(Path(path))
        try:
            inspect.signature(fuser.forward).bind("picture")
        except TypeError as problem:
            raise InputError(f"{path} holds a {type(fuser).__name__}, which takes more than one picture") from problem
        self.fuser, self.span = fuser.requires_grad_(False), span
        log.info("loss through the sensor of %s, %s", path, checkpoint.digest(Path(path)))

    def __call__(self, picture: Tensor) -> Tensor:
        """What the network makes of the picture, in the recipe's range."""
        low, width = self.span[0], self.span[1] - self.span[0]
        return low + width * self.fuser.to(picture)((picture - low) / width)


class Pyramid:
    """No network: the picture, halved (2x2 means) again and again, `level1` as it is; for when no weights are at hand.

    `gradients` adds differences across and down and the Laplacian as channels.
    """

    def __init__(self, levels: int = 5, gradients: bool = False) -> None:
        """
        Raises:
            InputError: no level.
        """
        if levels < 1:
            raise InputError(f"features.levels={levels}: must be at least 1")
        self.levels, self.gradients = levels, gradients
        log.info("loss through a pyramid of %d levels, without weights", levels)

    def __call__(self, picture: Tensor) -> dict[str, Tensor]:
        """Maps `(b, c, y, x)`, or `(b, 4c, y, x)` with gradients; fewer levels where one pixel is left."""
        x, seen = picture, {}
        for level in range(1, self.levels + 1):
            seen[f"level{level}"] = torch.cat([x, differences(x), laplacian(x)], 1) if self.gradients else x
            if max(x.shape[-2:]) == 1:
                break
            x = F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
        return seen


def stages(network: str, layers: Sequence[str]) -> nn.ModuleDict:
    """The stages of a network up to the deepest of the layers, frozen, with their weights from the cache.

    Raises:
        InputError: an unknown layer, weights that are not there or damaged.
    """
    from torchvision import models

    with torch.device("meta"):
        whole = models.get_model(network)
    named = {name: (prefix, stage) for name, prefix, stage in order(whole, network)}
    if unknown := [layer for layer in layers if layer not in named]:
        raise InputError(f"features.layers: {network} has no {unknown[0]}; it has {', '.join(named)}")
    last = max(list(named).index(layer) for layer in layers)
    known = cached(network)
    made = nn.ModuleDict()
    for name, (prefix, stage) in list(named.items())[: last + 1]:
        own = {key: known[f"{prefix}.{key}"] for key in stage.state_dict() if f"{prefix}.{key}" in known}
        if own.keys() != stage.state_dict().keys():
            raise InputError(f"the cached weights of {network} have nothing for {name}: delete the file, get it anew")
        stage.load_state_dict(own, assign=True)
        made[name] = stage
    return made.eval().requires_grad_(False)


def order(whole: nn.Module, network: str) -> Iterator[tuple[str, str, nn.Module]]:
    """Stages in the order of the forward pass: our name, the name in the weights, the stage."""
    if network == "resnet101":
        for name, stage in whole.named_children():
            if name not in ("avgpool", "fc"):
                yield name, name, stage
        return
    block, layer = 1, 0
    for number, stage in whole.get_submodule("features").named_children():
        if isinstance(stage, nn.MaxPool2d):
            yield f"pool{block}", f"features.{number}", stage
            block, layer = block + 1, 0
        elif isinstance(stage, nn.ReLU):
            yield f"relu{block}_{layer}", f"features.{number}", nn.ReLU()  # not in place: conv is looked at too
        else:
            layer += 1
            yield f"conv{block}_{layer}", f"features.{number}", stage


def cached(network: str, trained: str = "IMAGENET1K_V1") -> dict[str, Tensor]:
    """Weights of torchvision (`trained`: their name there) as its own download leaves them in the torch hub cache.

    Raises:
        InputError: they are not there or damaged.
    """
    from torchvision import models

    url = models.get_model_weights(network)[trained].url
    path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    if not path.is_file():
        raise InputError(
            f'the {trained} weights of {network} are not in {path}; get them once with: python -c "import torchvision; '
            f"torchvision.models.get_model('{network}', weights='{trained}')\"; or name what needs no weights: "
            "fuse.losses.networks.Encoder (a checkpoint of densefuse) or fuse.losses.networks.Pyramid for features, "
            "fuse.losses.intensity.by_saliency for a detector"
        )
    return stored(path)


def stored(path: Path) -> dict[str, Tensor]:
    """A file of weights, read so that it cannot run code.

    Raises:
        InputError: it is not there, or is something else.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:  # torch gives no common type for a damaged or forbidden pickle
        raise InputError(f"{path} cannot be read as weights: {checkpoint.first_line(problem)}") from problem
