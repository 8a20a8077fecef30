"""Weights that authors released, brought into our networks. The files themselves stay with their authors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fuse import tensorflow
from fuse.config import near
from fuse.errors import InputError
from fuse.models.mffgan import Discriminator, Generator
from fuse.models.pmgi import PMGI

Stored = Mapping[str, np.ndarray]

# Our layers of a path, and their numbers in the authors' TensorFlow scopes.
MFFGAN_LAYERS = {"conv1": "1", "conv2": "2", "exchange1": "2_3", "conv3": "3", "exchange2": "3_4", "conv4": "4"}
PMGI_LAYERS = {"layer1": "1", "layer2": "2", "exchange1": "2_3", "layer3": "3", "exchange2": "3_4", "layer4": "4"}

NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def released(method: str, prefix: Path) -> tuple[dict[str, nn.Module], dict[str, Any]]:
    """Networks of a checkpoint that the authors of a method released, and the card of the fuser among them.

    Raises:
        InputError: a method whose files are not read here, no such checkpoint, or one of another network.
    """
    if method == "mffgan":
        generator, discriminator = mffgan(prefix)
        card = {"fuser": {"_target_": "fuse.models.mffgan.Generator"}, "weights": "HaoZhang1018/MFF-GAN, MIT"}
        return {"fuser": generator, "critic": discriminator}, card
    if method == "pmgi":
        card = {"fuser": {"_target_": "fuse.models.pmgi.PMGI"}, "weights": "HaoZhang1018/PMGI_AAAI2020, MIT"}
        return {"fuser": pmgi(prefix)}, card
    raise InputError(f"released weights of '{method}' cannot be read; {near(method, ('mffgan', 'pmgi'))}")


def mffgan(prefix: Path) -> tuple[Generator, Discriminator]:
    """Generator and discriminator of a checkpoint that the MFF-GAN authors released (`CGAN.model-19`).

    Raises:
        InputError: no such checkpoint, or one of another network.
    """
    stored = tensorflow.read(prefix)
    generator, discriminator = Generator(), Discriminator()
    try:
        for path, suffix in ((generator.near, ""), (generator.far, "_far")):
            for ours, number in MFFGAN_LAYERS.items():
                _fill_layer(getattr(path, ours), stored, f"{number}{suffix}")
        _fill_layer(generator.output, stored, "5")
        for i, conv in enumerate(discriminator.convs, start=1):
            _fill(conv, stored, f"discriminator/layer_{i}/w_{i}", f"discriminator/layer_{i}/b_{i}")
        for i, norm in enumerate(discriminator.norms, start=2):
            _fill_norm(norm, stored, f"discriminator/layer_{i}")
        rows = stored["discriminator/line_5/w_5"].reshape(2, 2, 256)  # height, width, channel
        _copy(discriminator.linear.weight, rows.transpose(2, 0, 1).reshape(1, -1))
        _copy(discriminator.linear.bias, stored["discriminator/line_5/b_5"])
    except (KeyError, ValueError) as problem:
        raise InputError(f"{prefix} is not a checkpoint of MFF-GAN: {problem}") from problem
    return generator.eval(), discriminator


def pmgi(prefix: Path) -> PMGI:
    """Network of a checkpoint that the PMGI authors released (`CGAN.model-N`), one for each task.

    Its first path, which takes the infrared, functional, near or underexposed picture twice, is theirs without suffix.

    Raises:
        InputError: no such checkpoint, or one of another network.
    """
    stored, network = tensorflow.read(prefix), PMGI()
    try:
        for path, suffix in ((network.a, ""), (network.b, "_vi")):
            for ours, number in PMGI_LAYERS.items():
                layer = f"{number}{suffix}"
                _fill_layer(getattr(path, ours).conv, stored, layer)
                _fill_norm(getattr(path, ours).norm, stored, f"fusion_model/layer{layer}")
        _fill_layer(network.output, stored, "5")
    except (KeyError, ValueError) as problem:
        raise InputError(f"{prefix} is not a checkpoint of PMGI: {problem}") from problem
    return network.eval()


def _fill_layer(conv: nn.Module, stored: Stored, layer: str) -> None:
    _fill(conv, stored, f"fusion_model/layer{layer}/w{layer}", f"fusion_model/layer{layer}/b{layer}")


def _fill(layer: nn.Module, stored: Stored, weight: str, bias: str) -> None:
    """A convolution from a TensorFlow kernel: height, width, in, out becomes out, in, height, width."""
    _copy(layer.get_parameter("weight"), stored[weight].transpose(3, 2, 0, 1))
    _copy(layer.get_parameter("bias"), stored[bias])


def _fill_norm(norm: nn.Module, stored: Stored, scope: str) -> None:
    for ours, theirs in NORM.items():
        _copy(getattr(norm, ours), stored[f"{scope}/BatchNorm/{theirs}"])


def _copy(target: Tensor, source: np.ndarray) -> None:
    if target.shape != source.shape:
        raise ValueError(f"{source.shape} where {tuple(target.shape)} is expected")
    with torch.no_grad():
        target.copy_(torch.from_numpy(source.copy()))
