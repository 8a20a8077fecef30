"""FusionNet: ten convolutions and an output, and its residual form."""

from itertools import pairwise

import torch
from torch.nn import functional as F

from fuse.models.fusionnet import FusionNet

WIDTHS = (6, 64, 64, 128, 128, 256, 256, 128, 128, 64, 64, 3)


def test_layers_are_plain_convolutions() -> None:
    torch.manual_seed(0)
    network = FusionNet()
    a, b = torch.rand(2, 1, 3, 9, 12, generator=torch.Generator().manual_seed(1))
    tensors = list(network.state_dict().values())
    layers = list(zip(tensors[::2], tensors[1::2], strict=True))
    assert [tuple(kernel.shape) for kernel, _ in layers] == [
        (outputs, inputs, 3, 3) for inputs, outputs in pairwise(WIDTHS)
    ]
    x = torch.cat([a, b], 1)
    for kernel, bias in layers[:-1]:
        x = F.relu(F.conv2d(x, kernel, bias, padding=1))
    torch.testing.assert_close(network(a, b), torch.sigmoid(F.conv2d(x, *layers[-1], padding=1)))


def test_the_residual_form_adds_to_the_average() -> None:
    torch.manual_seed(0)
    network, a, b = FusionNet(residual=True), *torch.rand(2, 1, 3, 9, 12)
    torch.manual_seed(0)
    plain = FusionNet()
    torch.testing.assert_close(network(a, b) - (a + b) / 2, torch.logit(plain(a, b)), rtol=1e-3, atol=1e-5)


def test_the_residual_form_starts_near_the_average() -> None:
    torch.manual_seed(0)
    a, b = torch.rand(2, 1, 3, 20, 20)
    assert (FusionNet(residual=True)(a, b) - (a + b) / 2).abs().max() < 0.2
