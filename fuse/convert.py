"""Weights that authors released, brought into our networks. The files themselves stay with their authors."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fuse import tensorflow
from fuse.errors import InputError
from fuse.models.mffgan import Discriminator, Generator

# Our layer of a path, and its number in the authors' TensorFlow scopes.
MFFGAN_LAYERS = {"conv1": "1", "conv2": "2", "exchange1": "2_3", "conv3": "3", "exchange2": "3_4", "conv4": "4"}

MFFGAN_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


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
                layer = f"{number}{suffix}"
                _fill(
                    getattr(path, ours),
                    stored,
                    f"fusion_model/layer{layer}/w{layer}",
                    f"fusion_model/layer{layer}/b{layer}",
                )
        _fill(generator.output, stored, "fusion_model/layer5/w5", "fusion_model/layer5/b5")
        for i, conv in enumerate(discriminator.convs, start=1):
            _fill(conv, stored, f"discriminator/layer_{i}/w_{i}", f"discriminator/layer_{i}/b_{i}")
        for i, norm in enumerate(discriminator.norms, start=2):
            for ours, theirs in MFFGAN_NORM.items():
                value = stored[f"discriminator/layer_{i}/BatchNorm/{theirs}"]
                _copy(getattr(norm, ours), torch.from_numpy(value.copy()))
        rows = stored["discriminator/line_5/w_5"].reshape(2, 2, 256)  # height, width, channel
        _copy(discriminator.linear.weight, torch.from_numpy(rows.transpose(2, 0, 1).reshape(1, -1).copy()))
        _copy(discriminator.linear.bias, torch.from_numpy(stored["discriminator/line_5/b_5"].copy()))
    except (KeyError, ValueError) as problem:
        raise InputError(f"{prefix} is not a checkpoint of MFF-GAN: {problem}") from problem
    return generator.eval(), discriminator


def _fill(layer: nn.Module, stored: dict[str, np.ndarray], weight: str, bias: str) -> None:
    """A convolution from a TensorFlow kernel: height, width, in, out becomes out, in, height, width."""
    _copy(layer.get_parameter("weight"), torch.from_numpy(stored[weight].transpose(3, 2, 0, 1).copy()))
    _copy(layer.get_parameter("bias"), torch.from_numpy(stored[bias].copy()))


def _copy(target: Tensor, source: Tensor) -> None:
    if target.shape != source.shape:
        raise ValueError(f"{tuple(source.shape)} where {tuple(target.shape)} is expected")
    with torch.no_grad():
        target.copy_(source)
