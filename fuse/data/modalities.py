"""Made scenes that two kinds of sensors see: infrared and visible light; CT and MRI; PET and MRI.

The reference holds what each source alone knows where it knows it: hot targets, bone, activity from the one, texture
and tissue from the other. It is an answer, not the only one; `focus` says which source it was taken from.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from fuse.data.optics import Scene, spread
from fuse.data.scenes import GAMMA, field, leaves, shape, texture

LUMA = (0.299, 0.587, 0.114)


def infrared_visible(size: int, generator: torch.Generator, targets: int = 4) -> Scene:
    """Infrared (1, s, s) and visible (3, s, s) picture of a scene by day or night, with warm targets.

    Visible: reflectance times light that falls off over the scene (dark at night), sensor noise that grows as the light
    falls. Infrared: temperature, smooth within leaves and blurred by the optics, targets hot. Targets look like their
    surroundings in visible light, so only the infrared knows them; texture is known to the visible alone.
    """
    night, direction = torch.rand(2, generator=generator).tolist()
    surface, coverage = leaves(size, 40, 0.05, 0.4, generator)
    reflectance = surface + (1 - coverage) * (0.15 + 0.7 * texture(size, generator)) ** GAMMA
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    slope = math.cos(2 * math.pi * direction) * x + math.sin(2 * math.pi * direction) * y
    light = (1 - 0.85 * night) * (0.6 + 0.4 * slope)
    noise = torch.randn(3, size, size, generator=generator) * (0.004 + 0.012 * night)
    visible = (spread(reflectance * light, 0.8).clamp(0, 1) ** (1 / GAMMA) + noise).clamp(0, 1)

    temperature = 0.35 + 0.1 * field(size, generator, 1.8)[0] + 0.15 * (reflectance.mean(0) - 0.3)
    hot = torch.zeros(size, size)
    for _ in range(targets):
        radius, heat = torch.rand(2, generator=generator).tolist()
        mask = shape(size, size * (0.03 + 0.08 * radius), generator)
        temperature = torch.where(mask > 0.5, 0.75 + 0.25 * heat, temperature)
        hot = torch.maximum(hot, mask)
    seen = spread(temperature.clamp(0, 1)[None], 1.0)
    infrared = (seen + 0.01 * torch.randn(1, size, size, generator=generator)).clamp(0, 1)
    luma = (visible * torch.tensor(LUMA).view(3, 1, 1)).sum(0, keepdim=True)
    warm = hot > 0.5
    reference = torch.where(warm, torch.maximum(infrared, luma) + visible - luma, visible).clamp(0, 1)
    return Scene((infrared, visible), reference, torch.stack([warm, ~warm]).float())


def head(size: int, generator: torch.Generator) -> tuple[Float[Tensor, "s s"], Float[Tensor, "s s"]]:
    """Masks in [0, 1] of a skull and of the brain inside it: turned ellipses of random thickness."""
    width, height, thick, turn = torch.rand(4, generator=generator).tolist()
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    angle = 0.3 * (turn - 0.5)
    u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    wobble = 1 + 0.02 * field(size, generator, 2.5)[0]
    radius = torch.hypot(u / (0.6 + 0.15 * width), v / (0.75 + 0.15 * height)) * wobble
    inner = 0.82 + 0.08 * thick
    soft = size / 4  # edges a pixel or two wide
    whole = ((1 - radius) * soft + 0.5).clamp(0, 1)
    brain = ((inner - 0.02 - radius) * soft + 0.5).clamp(0, 1)
    return (whole - brain).clamp(0, 1), brain


def tissue(size: int, brain: Float[Tensor, "s s"], generator: torch.Generator) -> Float[Tensor, "s s"]:
    """Brain in [0, 1] as MRI shows it: folds of grey and white matter, dark ventricles, fine texture."""
    folds = torch.sigmoid(4 * field(size, generator, 1.3)[0])
    fine = 0.03 * field(size, generator, 0.5)[0]
    ventricle = shape(size, size * 0.12, generator)
    return (brain * ((0.35 + 0.35 * folds + fine) * (1 - 0.8 * ventricle))).clamp(0, 1)


def ct_mri(size: int, generator: torch.Generator, findings: int = 2) -> Scene:
    """CT and MRI slice (1, s, s) of a made head on empty ground.

    CT shows bone bright and soft tissue nearly flat; MRI shows tissue and no bone. Calcifications are bright in CT
    alone, lesions in MRI alone. Reference: CT where it shows bone or calcification, MRI elsewhere.
    """
    skull, brain = head(size, generator)
    soft = tissue(size, brain, generator)
    ct = 0.9 * skull + brain * (0.25 + 0.02 * field(size, generator, 1.0)[0])
    mri = soft + 0.08 * skull
    bone = skull > 0.5
    for _ in range(findings):
        chalk = shape(size, size * 0.02, generator) * brain
        lesion = shape(size, size * 0.05, generator) * brain
        ct = torch.maximum(ct, 0.95 * chalk)
        mri = torch.where(lesion > 0.5, 0.9 * lesion, mri)
        bone = bone | (chalk > 0.5)
    ct, mri = ct.clamp(0, 1)[None], mri.clamp(0, 1)[None]
    return Scene((ct, mri), torch.where(bone, ct, mri), torch.stack([bone, ~bone]).float())


def pet_mri(size: int, generator: torch.Generator, lesions: int = 2) -> Scene:
    """PET (3, s, s) in pseudo-colour and MRI (1, s, s) of a made head.

    Activity is smooth (the resolution of PET is a few pixels) and follows grey matter, with hot lesions; its colours
    run black, blue, red, yellow, white. Reference: MRI's tissue in the brightness, PET's colour at each place.
    """
    skull, brain = head(size, generator)
    soft = tissue(size, brain, generator)
    activity = brain * (0.35 + 0.5 * soft)
    for _ in range(lesions):
        activity = torch.maximum(activity, shape(size, size * 0.06, generator) * brain)
    activity = spread(activity[None], 3.0)[0].clamp(0, 1)
    pet, mri = colours(activity), (soft + 0.08 * skull).clamp(0, 1)[None]
    luma = (pet * torch.tensor(LUMA).view(3, 1, 1)).sum(0, keepdim=True)
    reference = (pet + torch.maximum(mri, luma) - luma).clamp(0, 1)
    return Scene((pet, mri), reference)


def colours(activity: Float[Tensor, "s s"]) -> Float[Tensor, "3 s s"]:
    """Pseudo-colour of activity in [0, 1]: black, blue, red, yellow, white at 0, 1/4, 1/2, 3/4 and 1."""
    stops = torch.tensor([[0.0, 0, 0], [0, 0, 1], [1, 0, 0], [1, 1, 0], [1, 1, 1]])
    place = activity * 4
    low = place.floor().clamp(max=3).long()
    share = (place - low)[..., None]
    return ((1 - share) * stops[low] + share * stops[low + 1]).movedim(-1, 0)
