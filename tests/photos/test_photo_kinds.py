"""Pictures of different kinds become one, holes are filled from the others, thermal values are stretched on request."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from fuse.errors import InputError
from fuse.photos import jpeg, photo
from fuse.photos.kinds import alike, deeper, opaque, same_colours, same_kind
from fuse.photos.photo import Photo, Stored
from fuse.photos.radiometric import occupied, stretched

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped() -> bytes:
    """A profile of RGB whose red and green primaries have changed places."""
    out = bytearray(SRGB)
    tags = {SRGB[at : at + 4]: at for at in range(132, 132 + 12 * int.from_bytes(SRGB[128:132], "big"), 12)}
    red, green = (slice(tags[name] + 4, tags[name] + 12) for name in (b"rXYZ", b"gXYZ"))
    out[red], out[green] = SRGB[green], SRGB[red]
    return bytes(out)


def made(channels: int, depth: torch.dtype, **stored: object) -> Photo:
    random = np.random.default_rng(channels)
    top = 1 if depth.is_floating_point else torch.iinfo(depth).max
    pixels = torch.from_numpy(random.random((channels, 6, 9)) * top).to(depth)
    return Photo(pixels, None, Stored(".png")._replace(**stored))


def test_the_deepest_depth_and_colour_win() -> None:
    pictures = [made(1, torch.uint8), made(3, torch.uint8), made(1, torch.uint16)]
    kind, said = same_kind(pictures, ["a", "b", "c"])
    assert (kind.channels, kind.depth) == (3, torch.uint16)
    assert said == ["the pictures are 8 bit and 16 bit; the result is 16 bit"]
    assert same_kind(pictures[:1] * 2, ["a", "b"]) == ((1, torch.uint8, Stored(".png")), [])
    for picture in pictures:
        same = alike(picture, kind)
        assert same.pixels.dtype == torch.uint16
        assert same.pixels.shape == (3, 6, 9)


def test_headers_do_as_well_as_pictures(tmp_path: Path) -> None:
    paths = [tmp_path / "a.png", tmp_path / "b.tif"]
    pictures = [made(3, torch.uint8), made(1, torch.float32)]
    for path, picture in zip(paths, pictures, strict=True):
        photo.write(path, picture)
    names = [path.name for path in paths]
    by_header = same_kind([photo.header(path) for path in paths], names, reference=1)
    assert by_header == same_kind([photo.read(path) for path in paths], names, reference=1)
    assert by_header[0].depth == torch.float32
    assert by_header[0].stored.suffix == ".tif"


def test_white_stays_white() -> None:
    white = torch.tensor([[[0, 1, 255]]], dtype=torch.uint8)
    assert deeper(white, torch.uint16).tolist() == [[[0, 257, 65535]]]
    assert deeper(white, torch.float32).tolist() == [[[0, pytest.approx(1 / 255), 1]]]
    assert deeper(deeper(white, torch.uint16), torch.float32)[0, 0, 2] == 1
    with pytest.raises(InputError, match="16 bit pictures are not made 8 bit"):
        deeper(torch.zeros(1, 2, 2, dtype=torch.uint16), torch.uint8)


def test_copies_of_srgb_are_one_profile_and_change_nothing() -> None:
    other = bytearray(SRGB)
    other[24:36] = b"\x07\xd0" + bytes(10)  # another date
    pictures = [made(3, torch.uint8), made(3, torch.uint8, icc=SRGB), made(3, torch.uint8, icc=bytes(other))]
    kind, said = same_kind(pictures, ["a", "b", "c"])
    assert said == []
    for picture in pictures:
        assert alike(picture, kind).pixels is picture.pixels


def test_another_profile_is_converted_at_8_bit_and_warned_of_at_16() -> None:
    assert not same_colours(SRGB, swapped())
    pictures = [made(3, torch.uint8, icc=SRGB), made(3, torch.uint8, icc=swapped())]
    kind, said = same_kind(pictures, ["a.jpg", "b.jpg"])
    assert said == ["b.jpg has another colour profile than a.jpg and is converted to that one"]
    stored = pictures[1].pixels.permute(1, 2, 0).numpy()
    found = alike(pictures[1], kind).pixels.permute(1, 2, 0).numpy().astype(int)
    assert np.abs(found - stored[..., [1, 0, 2]]).max() <= 2  # red and green are what the profile calls them
    deep = [picture._replace(pixels=deeper(picture.pixels, torch.uint16)) for picture in pictures]
    kind, said = same_kind(deep, ["a.tif", "b.tif"])
    assert "b.tif has another colour profile than a.tif; 16 bit pictures are not converted" in said[0]
    assert alike(deep[1], kind).pixels is deep[1].pixels


def test_a_profile_of_grey_does_not_describe_colours() -> None:
    grey = made(1, torch.uint8, icc=bytes(16) + b"GRAY" + bytes(200))
    kind, said = same_kind([grey, made(3, torch.uint8, icc=SRGB)], ["ir", "vi"])
    assert kind.stored.icc == SRGB
    assert said == []


def test_the_finest_jpeg_quality_is_taken(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    for name, quality, subsampling in (("a", 70, "4:2:0"), ("b", 92, "4:2:2")):
        Image.fromarray(pixels).save(tmp_path / f"{name}.jpg", quality=quality, subsampling=subsampling)
    kind, _ = same_kind([photo.header(tmp_path / "a.jpg"), photo.header(tmp_path / "b.jpg")], ["a", "b"])
    assert (kind.stored.quality, kind.stored.subsampling) == (92, "4:2:2")
    assert kind.stored.tables[0] == tuple(jpeg.scaled(92).ravel())


def holed(value: int, alpha: list[int]) -> Photo:
    pixels = torch.full((1, 1, len(alpha)), value, dtype=torch.uint8)
    return Photo(pixels, torch.tensor([[alpha]], dtype=torch.uint8), Stored(".png"))


def test_holes_are_filled_from_the_others() -> None:
    a, b, c = holed(10, [255, 0, 0, 0, 51]), holed(100, [255, 255, 0, 0, 255]), holed(201, [255, 255, 255, 0, 0])
    (one, two, three), alpha = opaque([a, b, c])
    assert one.tolist() == [[[10, 150, 201, 10, 82]]]  # the mean of 100 and 201; 0.2 of 10 and 0.8 of 100
    assert two.tolist() == [[[100, 100, 201, 100, 100]]]
    assert three.tolist() == [[[201, 201, 201, 201, 85]]]  # of 10 a fifth, of 100 all: 102 / 1.2
    assert alpha is not None
    assert alpha.tolist() == [[[255, 255, 255, 0, 255]]]


def test_beside_an_opaque_picture_the_result_is_opaque() -> None:
    whole = Photo(torch.full((1, 1, 2), 7, dtype=torch.uint8), None, Stored(".png"))
    (one, two), alpha = opaque([holed(90, [0, 255]), whole])
    assert alpha is None
    assert one.tolist() == [[[7, 90]]]
    assert two is whole.pixels
    assert opaque([whole, whole])[0][0] is whole.pixels


@given(st.sampled_from([torch.uint8, torch.uint16, torch.float32]), st.integers(2, 4), st.integers(0, 99))
def test_opaque_pixels_never_change(depth: torch.dtype, count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    top = 1 if depth.is_floating_point else torch.iinfo(depth).max
    photos = []
    for _ in range(count):
        pixels = torch.from_numpy(random.random((3, 5, 7)) * top).to(depth)
        alpha = torch.from_numpy(random.choice([0, 0.5, 1], (1, 5, 7)) * top).to(depth)
        photos.append(Photo(pixels, alpha, Stored(".png")))
    before = [picture.pixels.clone() for picture in photos]
    filled, alpha = opaque(photos)
    assert alpha is not None
    assert np.array_equal(alpha.numpy(), np.maximum.reduce([picture.alpha.numpy() for picture in photos]))
    for picture, pixels, values in zip(photos, before, filled, strict=True):
        assert np.array_equal(picture.pixels.numpy(), pixels.numpy())  # the sources are not written to
        whole = np.broadcast_to(picture.alpha.numpy() == top, pixels.shape)
        assert np.array_equal(values.numpy()[whole], pixels.numpy()[whole])


def test_share_of_the_range() -> None:
    thermal = torch.from_numpy(np.linspace(7000, 7655, 10_000).round().astype(np.uint16).reshape(1, 100, 100))
    assert occupied(thermal) == pytest.approx(655 / 65535, rel=0.01)
    dead = thermal.clone()
    dead.numpy()[0, 0, :5], dead.numpy()[0, 99, :5] = 65535, 0
    assert occupied(dead) == pytest.approx(655 / 65535, rel=0.01)
    assert occupied(torch.rand(1, 4, 4)) == 1
    assert occupied(torch.tensor([[[0, 255]]], dtype=torch.uint8)) == 1


def test_stretch_by_hand() -> None:
    values = torch.tensor([[[7000, 7001, 7002, 7004]]]).to(torch.uint16)
    assert stretched(values).tolist() == [[[0, 16384, 32768, 65535]]]
    assert stretched(values, 25, 75).tolist() == [[[0, 32768, 65535, 65535]]]
    assert stretched(values[..., :1]).tolist() == [[[7000]]]
    assert stretched(torch.tensor([[[-300.0, 0.0, 100.0]]])).tolist() == [[[0, 0.75, 1]]]
    assert stretched(torch.tensor([[[3, 5]]], dtype=torch.uint8)).tolist() == [[[0, 255]]]


@given(st.integers(0, 99), st.floats(0, 40), st.floats(60, 100))
def test_percentiles_are_numpys(seed: int, low: float, high: float) -> None:
    values = np.random.default_rng(seed).integers(0, 65536, (3, 8, 9)).astype(np.uint16)
    first, last = np.percentile(values, [low, high], method="inverted_cdf").astype(float)
    wanted = np.rint((values - first) / (last - first) * 65535).clip(0, 65535)
    assert np.array_equal(stretched(torch.from_numpy(values), low, high).numpy(), wanted)


@pytest.mark.parametrize(("low", "high"), [(5, 5), (9, 2), (-1, 50), (0, 101)])
def test_percentiles_out_of_order(low: float, high: float) -> None:
    with pytest.raises(InputError, match="percentiles"):
        stretched(torch.zeros(1, 2, 2, dtype=torch.uint16), low, high)
