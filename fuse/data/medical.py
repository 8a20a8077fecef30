"""Slices of NIfTI volumes and DICOM files as pictures, 16 bit grey; needs the extra `medical`."""

import importlib
import io as streams
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fuse.errors import InputError

VOLUMES = (".nii", ".nii.gz")
SUFFIXES = (*VOLUMES, ".dcm")


def library(name: str, path: object) -> Any:
    """An optional library.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as problem:
        raise InputError(f"{path} needs {name}: pip install 'fuse-imaging[medical]'") from problem


def suffix(path: PurePath) -> str:
    """The medical ending of a file name in small letters, or nothing."""
    return next((ending for ending in reversed(SUFFIXES) if path.name.lower().endswith(ending)), "")


def stem(path: PurePath) -> str:
    """The name of a picture file without its ending, of which `.nii.gz` is one."""
    return path.name[: -len(suffix(path))] if suffix(path) else path.stem


def slices(path: Path, stem: str) -> dict[str, Path]:
    """The slices of a volume by stem: `<stem>-000`, which `fuse.data.io.read` finds at `brain.nii.gz/000`, and so on
    up along the patient's axis.

    Raises:
        InputError: no volume, or one with more than three axes.
    """
    return {f"{stem}-{index:03d}": path / f"{index:03d}" for index in range(volume(path).shape[2])}


@lru_cache(maxsize=4)
def volume(path: Path) -> np.ndarray:
    """A NIfTI volume turned so that its axes point to the patient's right, front and head; 0..65535 from its smallest
    to its largest finite value, the others as the smallest.

    Raises:
        InputError: it cannot be read, or has not three axes.
    """
    nibabel = library("nibabel", path)
    try:
        stored = nibabel.load(path)
        if len(stored.shape) != 3:
            raise InputError(f"{path} has the shape {stored.shape}; volumes with three axes can be cut into slices")
        values = nibabel.as_closest_canonical(stored).get_fdata(dtype=np.float32)
    except (OSError, EOFError, ValueError, nibabel.filebasedimages.ImageFileError) as problem:
        if isinstance(problem, InputError):
            raise
        raise InputError(f"{path} cannot be read as a NIfTI volume: {problem}") from problem
    finite = np.isfinite(values)
    low, high = (float(f(values[finite])) for f in (np.min, np.max)) if finite.any() else (0.0, 0.0)
    return whole(np.where(finite, values, low), low, high)


def slice_of(path: Path) -> Tensor:
    """The slice `(1, h, w)` at `<volume>/<index>`: front at the top, the patient's right at the left, as radiologists
    look at it.

    Raises:
        InputError: as `volume`.
    """
    plane = volume(path.parent)[:, :, int(path.name)]
    return torch.from_numpy(np.ascontiguousarray(plane[::-1, ::-1].T))[None]


def dicom(data: bytes, name: str) -> Tensor:
    """A DICOM file of one frame: RGB `(3, h, w)` as stored, or grey `(1, h, w)` with its window (the first, if the file
    has several) stretched to 0..65535; without a window, all that its stored bits can say.

    Raises:
        InputError: no DICOM file, no pixels that can be read, or several frames.
    """
    pydicom = library("pydicom", name)
    try:
        file = pydicom.dcmread(streams.BytesIO(data))
        pixels = np.asarray(file.pixel_array)
    except (pydicom.errors.InvalidDicomError, AttributeError, ValueError, RuntimeError) as problem:
        raise InputError(f"{name} cannot be read as a DICOM picture: {problem}") from problem
    if int(file.get("NumberOfFrames") or 1) > 1:
        raise InputError(f"{name} has {file.NumberOfFrames} frames; save them one by one")
    if pixels.ndim == 3:
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    slope, shift = float(file.get("RescaleSlope", 1)), float(file.get("RescaleIntercept", 0))
    values = pixels * slope + shift
    if "WindowCenter" in file and "WindowWidth" in file:
        # Part 3, C.11.2.1.2.1: the window's ends lie half a step inside
        center, width = (float(np.atleast_1d(file[key].value)[0]) for key in ("WindowCenter", "WindowWidth"))
        ends = center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2
    else:
        steps, signed = 2 ** int(file.BitsStored), int(file.PixelRepresentation)
        first = -steps // 2 if signed else 0
        ends = first * slope + shift, (first + steps - 1) * slope + shift
    shown = whole(values, min(ends), max(ends))
    if file.PhotometricInterpretation == "MONOCHROME1":  # small values are bright
        shown = 65535 - shown
    return torch.from_numpy(shown)[None]


def whole(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values from `low` to `high` as 0..65535, what lies outside clipped; all 0 if there is nothing between."""
    if high <= low:
        return np.zeros(values.shape, np.uint16)
    return np.round(np.clip((values - low) / (high - low), 0, 1) * 65535).astype(np.uint16)
