"""What tests of adversarial methods share: networks in which every layer matters, pictures, exact spectral norm."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def randomised(network: nn.Module) -> None:
    """Weights, scales and running statistics with which every layer matters."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point() and not name.endswith(("_u", "_v")):
                value.normal_(0, 0.1, generator=generator)
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                for value in (layer.weight, layer.get_buffer("running_var")):
                    value.uniform_(0.5, 2, generator=generator)
    for layer in network.modules():  # spectral norm would come near them only after many uses
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and hasattr(layer, "parametrizations"):
            norm = layer.parametrizations["weight"][0]
            if not hasattr(layer, "parametrizations"):
                continue
            weight = layer.parametrizations["weight"].original.detach()
            weight = (weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight).flatten(1)
            norm._u.copy_(torch.linalg.eigh(weight @ weight.T).eigenvectors[:, -1])
            norm._v.copy_(F.normalize(weight.T @ norm._u, dim=0))
    network.eval()


def pictures(count: int = 2, height: int = 30, width: int = 34, batch: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(height)
    return [torch.rand(batch, 1, height, width, generator=generator) for _ in range(count)]


def spectral(weight: Tensor) -> Tensor:
    """A weight over its largest singular value."""
    rows = weight.flatten(1)
    return weight / torch.linalg.eigvalsh(rows @ rows.T)[-1].sqrt()
