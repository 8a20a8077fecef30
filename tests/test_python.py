"""`fuse.load` from Python: pictures of any kind in, the same kind out."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import ROOT
from PIL import Image

import fuse
from fuse.errors import InputError

PAGE = (ROOT / "docs" / "python.md").read_text()


def arrays(shape: tuple[int, ...], depth: str, count: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    if depth.startswith("float"):
        return list(rng.random((count, *shape)).astype(depth))
    return list(rng.integers(0, np.iinfo(depth).max, (count, *shape), endpoint=True).astype(depth))


@pytest.fixture(scope="module")
def choose() -> Callable[..., Any]:
    return fuse.load("gaussian")


@pytest.mark.parametrize("depth", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(20, 23), (20, 23, 1), (20, 23, 3), (20, 23, 4)])
def test_arrays_come_back_as_they_are(choose: Callable[..., Any], shape: tuple[int, ...], depth: str) -> None:
    near, far = arrays(shape, depth)
    if shape[2:] == (4,):
        near[..., 3], far[..., 3] = (1, 1) if depth.startswith("float") else (np.iinfo(depth).max,) * 2
    fused = choose(near, far)
    assert isinstance(fused, np.ndarray)
    assert fused.dtype == near.dtype
    assert fused.shape == near.shape
    exact = 1e-6 if depth == "float64" else 0  # is computed as float32
    assert bool(np.minimum(abs(fused - near.astype(float)), abs(fused - far.astype(float))).max() <= exact)


@pytest.mark.parametrize("shape", [(20, 23), (20, 23, 3), (3, 20, 23), (1, 20, 23), (2, 3, 20, 23), (2, 1, 20, 23)])
def test_tensors_keep_their_layout(choose: Callable[..., Any], shape: tuple[int, ...]) -> None:
    near, far = (torch.from_numpy(x) for x in arrays(shape, "uint8"))
    fused = choose(near, far)
    assert isinstance(fused, torch.Tensor)
    assert (fused.shape, fused.dtype) == (near.shape, near.dtype)
    assert bool(((fused == near) | (fused == far)).all())


def test_layouts_and_kinds_agree_with_each_other(choose: Callable[..., Any], tmp_path: Path) -> None:
    near, far = arrays((20, 23, 3), "uint8")
    wanted = choose(near, far)
    first = choose(*(torch.from_numpy(x).permute(2, 0, 1) for x in (near, far)))
    batch = choose(*(torch.from_numpy(np.stack([x, x[::-1]])).permute(0, 3, 1, 2) for x in (near, far)))
    np.testing.assert_array_equal(first.permute(1, 2, 0).numpy(), wanted)
    np.testing.assert_array_equal(batch[0].permute(1, 2, 0).numpy(), wanted)
    np.testing.assert_array_equal(batch[1].permute(1, 2, 0).numpy(), choose(near[::-1], far[::-1]))
    images = choose(Image.fromarray(near), Image.fromarray(far))
    np.testing.assert_array_equal(np.asarray(images), wanted)
    for name, picture in (("near.png", near), ("far.png", far)):
        Image.fromarray(picture).save(tmp_path / name)
    np.testing.assert_array_equal(choose(tmp_path / "near.png", str(tmp_path / "far.png")), wanted)


def test_grey_beside_colour_gives_colour(choose: Callable[..., Any]) -> None:
    near, far = arrays((20, 23, 3), "uint8")
    assert choose(near[..., 0], far).shape == (20, 23, 3)


def test_floats_beyond_white_are_kept(choose: Callable[..., Any]) -> None:
    near, far = (4 * x - 1 for x in arrays((20, 23), "float32"))
    fused = choose(near, far)
    assert bool(((fused == near) | (fused == far)).all())
    assert fused.max() > 2
    assert fused.min() < -0.5


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1", "I;16", "F", "CMYK"])
def test_images_of_every_mode(choose: Callable[..., Any], mode: str) -> None:
    near, far = arrays((20, 23, 3), "uint8")
    if mode == "I;16":
        pair = [Image.fromarray(x) for x in arrays((20, 23), "uint16")]
    else:
        pair = [Image.fromarray(x).convert(mode) for x in (near, far)]
    fused = choose(*pair)
    assert isinstance(fused, Image.Image)
    assert fused.size == (23, 20)
    assert fused.mode == {"LA": "RGBA", "P": "RGB", "1": "L", "CMYK": "RGB"}.get(mode, mode)
    if mode in ("L", "RGB", "I;16", "F"):
        found, one, other = (np.asarray(x) for x in (fused, *pair))
        assert bool(((found == one) | (found == other)).all())


def test_a_turned_image_is_set_upright_once(choose: Callable[..., Any]) -> None:
    image = Image.fromarray(arrays((20, 23, 3), "uint8")[0])
    exif = image.getexif()
    exif[0x0112] = 6
    fused = choose(image, image)
    assert fused.size == (20, 23)
    np.testing.assert_array_equal(np.asarray(fused), np.rot90(np.asarray(image), -1))


def test_where_a_source_is_transparent_the_other_shows(choose: Callable[..., Any]) -> None:
    near, far = arrays((20, 23, 4), "uint8")
    near[..., 3] = far[..., 3] = 255
    near[:, :10, 3] = 0
    far[:5, :10, 3] = 0
    fused = choose(near, far)
    np.testing.assert_array_equal(fused[10:, :10, :3], far[10:, :10, :3])
    assert (fused[:5, :10, 3] == 0).all()
    assert (fused[5:, :, 3] == 255).all()


def test_the_map_names_the_source_of_every_pixel(choose: Callable[..., Any]) -> None:
    stack = arrays((20, 23, 3), "uint8", 4)
    fused, chosen = choose(*stack, want_map=True)
    assert chosen.shape == (20, 23)
    np.testing.assert_array_equal(np.take_along_axis(np.stack(stack), chosen[None, ..., None].astype(int), 0)[0], fused)
    batch = [torch.from_numpy(x).permute(2, 0, 1)[None] for x in stack]
    tensor, numbers = choose(*batch, want_map=True)
    assert tensor.shape == (1, 3, 20, 23)
    np.testing.assert_array_equal(numbers[0].numpy(), chosen)


def test_colour_comes_from_where_it_is_said(choose: Callable[..., Any]) -> None:
    near, far = arrays((20, 23, 3), "uint8")
    assert choose(near, far, color="grey").shape == (20, 23)
    grey = np.repeat(near[..., :1], 3, 2)
    fused = choose(grey, far, color="first").astype(int)
    assert np.abs(fused - fused[..., :1]).max() <= 1
    with pytest.raises(InputError, match="colour of source '7'"):
        choose(near, far, color=7)


@pytest.mark.parametrize(
    ("pictures", "told"),
    [
        (lambda x: [], "needs two or more pictures, 0 given"),
        (lambda x: [x], "needs two or more pictures, 1 given"),
        (lambda x: [[x, x]], "a list is no picture"),
        (lambda x: [x, torch.from_numpy(x)], "kinds array, tensor cannot be mixed"),
        (lambda x: [x, "far.png"], "kinds array, path cannot be mixed"),
        (lambda x: ["no.png", "far.png"], "no.png"),
        (lambda x: [x, x.astype(np.uint16)], "types uint16, uint8 cannot be mixed"),
        (lambda x: [x, x[:10]], "bring them to one size"),
        (lambda x: [x > 3, x > 3], "an array of bool"),
        (lambda x: [x.astype(np.int64)] * 2, "pictures of int64 are not known"),
        (lambda x: [x[..., :2]] * 2, "(h, w, 3) or (h, w, 4)"),
        (lambda x: [x[None]] * 2, "(1, 20, 23, 3) is no picture"),
        (lambda x: [torch.from_numpy(x)[:3].contiguous()] * 2, "can be (c, h, w) or (h, w, c)"),
        (lambda x: [torch.from_numpy(x), torch.from_numpy(x).permute(2, 0, 1)], "channels first, last cannot be mixed"),
        (lambda x: [torch.zeros(2, 1, 9, 9), torch.zeros(1, 1, 9, 9)], "batches of [2, 1] pictures"),
        (lambda x: [torch.zeros(5, 6, 7, 8, 9)] * 2, "is no picture"),
        (lambda x: [np.full((9, 9), np.nan)] * 2, "not numbers"),
    ],
)
def test_what_is_no_pair_of_pictures_is_said(
    choose: Callable[..., Any], pictures: Callable[[np.ndarray], list[Any]], told: str
) -> None:
    with pytest.raises(InputError, match=re.escape(told)):
        choose(*pictures(arrays((20, 23, 3), "uint8")[0]))


def scene(shift: int) -> np.ndarray:
    """Blobs of light, 72 x 80, the camera moved by some pixels to the right."""
    noise = np.random.default_rng(1).random((100, 120))
    for axis in (0, 1, 0, 1):
        noise = sum(np.roll(noise, k, axis) for k in range(-2, 3)) / 5
    noise = (noise - noise.min()) / (noise.max() - noise.min())
    return (255 * noise[10:82, 10 + shift : 90 + shift]).astype(np.uint8)


def test_pictures_are_aligned_if_asked() -> None:
    near, far = scene(0), scene(4)
    average = fuse.load("average")
    inner = slice(10, -10), slice(10, -10)
    apart, together = (
        np.abs(average(near, far, align=how).astype(int) - near)[inner].mean() for how in ("off", "translation")
    )
    assert together < 1 < apart
    moved = average(*(torch.from_numpy(x)[None] for x in (near, far[:60])), align="auto")  # sizes may differ then
    assert moved.shape == (1, 72, 80)


def test_what_cannot_be_aligned_is_said() -> None:
    flat = np.full((72, 80), 100, np.uint8)
    average = fuse.load("average")
    with pytest.warns(UserWarning, match="picture 2: not aligned .* look for double edges"):
        average(scene(0), flat, align="auto")
    with pytest.raises(InputError, match="cannot be aligned"):
        average(scene(0), flat, align="homography")
    with pytest.raises(InputError, match="align=fine: choose one of auto, off"):
        average(scene(0), flat, align="fine")


def test_the_pages_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("near.png", "far.png"):
        Image.fromarray(scene(0)).convert("RGB").save(name)
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(code, names)
    assert names["sharp"].shape == names["as_array"].shape == names["fused"].shape == (72, 80, 3)
    assert names["as_tensor"].shape == (1, 3, 72, 80)
    assert names["as_image"].size == (80, 72)
    assert (tmp_path / "sharp.png").is_file()
    assert names["chosen"].shape == names["grey"].shape == (72, 80)
    assert 0 <= names["share"] <= 1
    assert names["q_g"] > 0
    assert np.isfinite(float(names["loss"]))
