"""Forms of IVIF_ZOO that differ from the canonical ones; they exist to reproduce its tables."""

import math

import torch

from fuse.metrics.artifacts import parts
from fuse.metrics.difference import cc
from fuse.metrics.information import histogram, image_entropy, mutual_information
from fuse.metrics.levels import Image, Images, Scores, total
from fuse.metrics.memo import Memo


def en_guarded(fused: Image) -> Scores:
    """EN with 1e-7 added inside the logarithm, bits."""
    shares = histogram(fused)
    return -(shares * torch.log2(shares + 1e-7)).sum(1)


def nmi_of_sources(fused: Image, sources: Images) -> Scores:
    """2 sum I(S; F) / sum H(S), without stretching: the entropy of F does not count."""
    memo = Memo()
    told = sum(memo(mutual_information, source, fused, memo) for source in sources)
    return 2 * told / sum(memo(image_entropy, source, memo) for source in sources)


def q_ncie_linear(fused: Image, sources: Images) -> Scores:
    """Q_NCIE with Pearson's correlation in place of the nonlinear one."""
    images = [*sources, fused]
    rows = [torch.stack([cc(one, [other]) for other in images], -1) for one in images]
    eigenvalues = torch.linalg.eigvalsh(torch.stack(rows, -2)).clamp(min=0) / len(images)
    return 1 + torch.special.xlogy(eigenvalues, eigenvalues).sum(1) / math.log(2) / 8


def q_te_entropies(fused: Image, sources: Images) -> Scores:
    """Sum of the sources' entropies less that of F, bits; no Tsallis information, and lower for a richer F."""
    memo = Memo()
    return sum(memo(image_entropy, source, memo) for source in sources) - memo(image_entropy, fused, memo)


def n_abf_strong(fused: Image, sources: Images) -> Scores:
    """N_ABF in which edges weaker than 2 levels (Sobel / 8) weigh nothing, not 0.001."""
    preserved, weights, added, _ = parts(fused, sources, Memo())
    weights = torch.where(weights < 1, 0.0, weights)  # of an edge that counts it is at least 2^1.5
    lost = torch.where(added, ((1 - preserved) * weights).sum(0), 0.0)
    return total(lost) / total(weights.sum(0))
