"""What every network of a paper must hold, as functions that its own test file calls with it."""

from pathlib import Path

import torch
from torch import Tensor, nn

from fuse import checkpoint, infer


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def pictures(height: int, width: int, count: int = 2, batch: int = 1, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(batch, 1, height, width, generator=generator) for _ in range(count)]


def lively(fuser: nn.Module, spread: float = 0.5, seed: int = 1) -> nn.Module:
    """Ready for use, with weights, biases and running statistics that make every layer matter."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in fuser.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2, generator=generator)
            elif value.dim() > 1:
                value.normal_(0, spread / value[0].numel() ** 0.5, generator=generator)
            elif value.is_floating_point():
                value.add_(0.05 * torch.randn(value.shape, generator=generator))
    return fuser.eval()


def fits_any_size(fuser: nn.Module, ranged: bool = True) -> None:
    """Odd, small and narrow pictures, and a batch of them, come out in their size and as numbers."""
    fuser.eval()
    for size in ((17, 23), (5, 40), (32, 32), (1, 1)):
        with torch.no_grad():
            fused = infer.whole(fuser, pictures(*size, batch=2))
        assert fused.shape == (2, 1, *size)
        assert torch.isfinite(fused).all()
        if ranged:
            assert fused.min() >= 0
            assert fused.max() <= 1


def is_settled(fuser: nn.Module, height: int = 24, width: int = 28) -> None:
    """In use the same again, whatever else is in the batch."""
    fuser.eval()
    together = pictures(height, width, batch=3)
    with torch.no_grad():
        once, twice = fuser(*together), fuser(*together)
        alone = fuser(*(x[1:2] for x in together))
    assert torch.equal(once, twice)
    torch.testing.assert_close(once[1:2], alone, rtol=1e-4, atol=1e-5)


def reach(fuser: nn.Module, side: int, places: list[int]) -> int:
    """How many pixels away the result changes when one pixel of any source does, over some places on the diagonal."""
    fuser = fuser.double().eval()
    given, farthest = [x.double() for x in pictures(side, side)], 0
    with torch.no_grad():
        before = fuser(*given)
        for place in places:
            for changed in range(len(given)):
                others = [x.clone() for x in given]
                others[changed][..., place, place] += 0.5
                moved = (fuser(*others) - before).abs().amax((0, 1)) > 1e-13
                farthest = max(farthest, int((moved.nonzero() - place).abs().max()) if moved.any() else 0)
    return farthest


def tiles_like_whole(fuser: nn.Module, height: int, width: int, tile: int) -> None:
    fuser.eval()
    given = pictures(height, width)
    with torch.no_grad():
        torch.testing.assert_close(
            infer.whole(fuser, given, tile), infer.whole(fuser, given, 4096), rtol=1e-4, atol=1e-5
        )


def learns_everywhere(network: nn.Module, result: Tensor, except_for: tuple[str, ...] = ()) -> None:
    """A gradient reaches every parameter but those whose name begins so."""
    result.square().mean().backward()
    for name, parameter in network.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.any())
        assert reached != name.startswith(except_for or ("nothing",)), name


def survives_saving(fuser: nn.Module, folder: Path, **settings: object) -> None:
    node = {"_target_": f"{type(fuser).__module__}.{type(fuser).__name__}", **settings}
    checkpoint.save(folder / "saved", {"fuser": fuser}, {"fuser": node}, {}, {})
    loaded, _ = checkpoint.load(folder / "saved")
    given = pictures(20, 24)
    assert torch.equal(loaded(*given), fuser.eval()(*given))
