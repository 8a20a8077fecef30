"""The losses of published methods, written as recipes: each builds, has the parts it says, and leads somewhere."""

from textwrap import dedent

import pytest
import torch
from made import pictures
from omegaconf import OmegaConf

from fuse.config import check
from fuse.data.sample import Sample
from fuse.steps import Loss
from fuse.train import recipe

RECIPES = {
    "swinfusion": """
        range: [0, 1]
        intensity: {weight: 20, term: {_target_: fuse.losses.intensity.to_maximum}}
        gradient: {weight: 20, term: {_target_: fuse.losses.gradient.to_maximum}}
        ssim:
          weight: 10
          term:
            _target_: fuse.losses.structure.to_sources
            importance: {_target_: fuse.losses.importance.gradient_share, _partial_: true}
    """,
    "u2fusion": """
        range: [0, 1]
        ssim:
          weight: 1
          term:
            _target_: fuse.losses.structure.to_sources
            importance: &information
              _target_: fuse.losses.importance.information
              _partial_: true
              features: {_target_: fuse.losses.networks.Pyramid}
              temperature: 0.01
              size: null
              operator: differences
        mse:
          weight: 20
          term: {_target_: fuse.losses.intensity.to_sources, importance: *information}
    """,
    "tardal": """
        range: [0, 1]
        ssim:
          weight: 1
          term:
            _target_: fuse.losses.structure.to_sources
            importance: &contrast {_target_: fuse.losses.importance.histogram_contrast, _partial_: true}
        pixels:
          weight: 20
          term: {_target_: fuse.losses.intensity.to_sources, importance: *contrast, distance: l1}
    """,
    "umf_cmgr": """
        range: [0, 1]
        ssim:
          weight: 1
          term:
            _target_: fuse.losses.structure.multiscale_to_mixture
            importance: &contrast {_target_: fuse.losses.importance.histogram_contrast, _partial_: true}
        pixels: {weight: 20, term: {_target_: fuse.losses.intensity.to_mixture, importance: *contrast}}
        gradient: {weight: 5, term: {_target_: fuse.losses.gradient.to_maximum, operator: laplacian}}
    """,
    "lrrnet": """
        range: [0, 255]
        pixels: {weight: 10, term: {_target_: fuse.losses.terms.mse, role: vi}}
        shallow:
          weight: 1.5
          term: &content
            _target_: fuse.losses.perceptual.content
            role: vi
            features: &features {_target_: fuse.losses.networks.Pyramid, levels: 3, gradients: true}
            layers: {level1: 1}
        middle:
          weight: 1
          term:
            _target_: fuse.losses.perceptual.content_mixture
            shares: {ir: 3.0, vi: 0.5}
            features: *features
            layers: {level2: 0.01, level3: 0.5}
        style: {weight: 2000, term: {_target_: fuse.losses.perceptual.style, role: ir, features: *features}}
    """,
    "mufusion": """
        range: [0, 1]
        memory:
          weight: 1
          term:
            _target_: fuse.losses.memory.with_memory
            importance:
              _target_: fuse.losses.importance.activity
              _partial_: true
              features: {_target_: fuse.losses.networks.Pyramid, levels: 1, gradients: true}
              window: 19
    """,
    "detfusion": """
        range: [0, 1]
        gradient: {weight: 5, term: {_target_: fuse.losses.gradient.to_maximum}}
        regions: {weight: 1, term: {_target_: fuse.losses.intensity.by_saliency, role: ir}}
    """,
    "murf": """
        range: [0, 1]
        ssim: {weight: 1, term: {_target_: fuse.losses.structure.to_sources}}
        gradient: {weight: 10, term: {_target_: fuse.losses.gradient.to_strongest, power: 0.7}}
    """,
    "ufgan": """
        range: [-1, 1]
        intensity: {weight: 100, term: {_target_: fuse.losses.terms.mse, role: ir}}
        gradient: {weight: 500, term: {_target_: fuse.losses.terms.gradient, role: vi}}
        ssim: {weight: 1, term: {_target_: fuse.losses.terms.ssim, role: vi, data_range: 2}}
        smooth: {weight: 10, term: {_target_: fuse.losses.smoothness.total_variation}}
    """,
    "zmff": """
        range: [0, 1]
        decision:
          weight: 20
          term:
            _target_: fuse.losses.selection.to_importance
            importance: {_target_: fuse.losses.importance.repeated_blur, _partial_: true}
            inside: masks
        whole: {weight: 20, term: {_target_: fuse.losses.selection.sum_to_one, inside: masks}}
        pixels: {weight: 1, term: {_target_: fuse.losses.intensity.to_mean}}
    """,
    "lightmff": """
        range: [0, 1]
        focal: {weight: 15, term: {_target_: fuse.losses.selection.focal, role: reference, alpha: 0.25}}
        dice: {weight: 1, term: {_target_: fuse.losses.selection.dice, role: reference}}
    """,
    "matr": """
        range: [0, 1]
        ssim_ir: {weight: 1, term: {_target_: fuse.losses.terms.ssim, role: ir}}
        ssim_vi: {weight: 1, term: {_target_: fuse.losses.terms.ssim, role: vi}}
        told_ir: {weight: 1, term: {_target_: fuse.losses.information.regional, role: ir}}
        told_vi: {weight: 2.5, term: {_target_: fuse.losses.information.regional, role: vi}}
    """,
}


def built(name: str) -> Loss:
    node = OmegaConf.to_container(OmegaConf.create(dedent(RECIPES[name])), resolve=True)
    assert isinstance(node, dict)
    assert check(node) == []
    return recipe(node)


@pytest.mark.parametrize("name", RECIPES)
def test_published_losses_can_be_written_as_recipes(name: str) -> None:
    fused, ir, vi, masks = (x.float() for x in pictures(4, 24, 28))
    score = torch.zeros(2, 2, 24, 28, requires_grad=True)
    weights = score.softmax(1)
    fused = (0.5 * fused + 0.5 * (weights * torch.cat([ir, vi], 1)).sum(1, keepdim=True)).requires_grad_()
    inside = {"masks": torch.cat([masks + score[:, :1], masks], 1)}
    loss = built(name)
    loss.check(["ir", "vi", "reference"])
    total, parts = loss(*loss.view(fused, Sample((ir, vi), ir, (), ("ir", "vi"), weights, inside)))
    assert total.item() == pytest.approx(sum(loss.terms[term].weight * parts[term].item() for term in parts), rel=1e-5)
    assert all(torch.isfinite(part) and part > 0 for part in parts.values())
    (slope,) = torch.autograd.grad(total, score)
    assert slope.abs().max() > 0
    assert torch.isfinite(slope).all()
