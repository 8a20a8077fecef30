"""What tests of training protocols share: a batch, real updates, and a recorder in place of them."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fuse.data.sample import Sample
from fuse.update import Update

SIDE = 31


def batch(channels: int = 1, count: int = 4) -> Sample:
    generator = torch.Generator().manual_seed(0)
    near, far, truth = torch.rand(3, count, channels, SIDE, SIDE, generator=generator)
    return Sample((near, far), truth, (), ("near", "far"))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def updating(networks: Mapping[str, nn.Module], rate: float = 1e-3) -> Update:
    optimisers = {name: torch.optim.Adam(net.parameters(), lr=rate, fused=True) for name, net in networks.items()}
    return Update(optimisers, None, torch.device("cpu"))


def weights(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


class Recorder:
    """In place of an update: which network, which loss, and what its gradients would reach."""

    def __init__(self, networks: Mapping[str, nn.Module] | None = None) -> None:
        self.calls: list[tuple[str, float]] = []
        self.networks = dict(networks or {})
        self.reached: list[set[str]] = []

    def __call__(self, name: str, loss: Tensor) -> None:
        self.calls.append((name, loss.item()))
        for network in self.networks.values():
            network.zero_grad()
        loss.backward()
        self.reached.append(
            {key for key, network in self.networks.items() if any(p.grad is not None for p in network.parameters())}
        )
