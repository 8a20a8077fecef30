"""The loss of MUFusion: the sources by a hard choice, and the memory of what the network made before.

The protocol or fuser tells the earlier result for the same patches as `sample.inside["memory"]`, in the recipe's range.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from fuse.data.sample import Sample
from fuse.losses.gradient import Importance
from fuse.losses.structure import multiscale
from fuse.losses.terms import laplacian

Picture = Float[Tensor, "b c h w"]


def with_memory(
    fused: Picture,
    sample: Sample,
    importance: Importance,
    data_range: float = 1.0,
    ssim: float = 10.0,
    gradient: float = 10.0,
) -> Tensor:
    """a L(sources) + (1 - a) L(memory), a = exp s(F) / (exp s(F) + exp s(M)), per picture, no gradient through a.

    L(sources) = sum_i d(w_i F, w_i I_i) with masks w (`importance.activity`); L(memory) = d(F, M); d = MSE + `ssim` x
    (1 - MS-SSIM) + `gradient` x MSE of signed Laplacians; s(X) = sum_i MS-SSIM(X, I_i), each mean brought to 0..1.
    Without a memory yet, M is F: half of L(sources). The edge of a mask is an edge of both pictures. MUFusion 1.
    """
    memory = sample.inside.get("memory", fused).detach()
    with torch.no_grad():
        scores = [[multiscale(x, source, data_range, True) for source in sample.sources] for x in (fused, memory)]
        share = torch.stack([torch.stack(of_one).sum(0) for of_one in scores]).softmax(0)
    pairs = zip(importance(sample), sample.sources, strict=True)
    content = torch.stack([apart(w * fused, w * x, data_range, ssim, gradient) for w, x in pairs]).sum(0)
    return (share[0] * content + share[1] * apart(fused, memory, data_range, ssim, gradient)).mean()


def apart(x: Picture, y: Picture, data_range: float, ssim: float, gradient: float) -> Float[Tensor, "b"]:
    """MSE + `ssim` (1 - MS-SSIM) + `gradient` MSE of signed Laplacians, per picture."""
    pixels, edges = (x - y).square().mean((1, 2, 3)), (laplacian(x) - laplacian(y)).square().mean((1, 2, 3))
    return pixels + ssim * (1 - multiscale(x, y, data_range, True)) + gradient * edges
