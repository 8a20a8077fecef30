"""Manifests: what is read from them, and that those of the project are sound."""

import csv
import re
from pathlib import Path, PurePosixPath

import pytest

from fuse.config import CONF
from fuse.data import io, manifest, registry
from fuse.data.manifest import Entry
from fuse.errors import InputError

NAMES = sorted(path.stem for path in Path(CONF, "manifest").glob("*.csv"))


def entry(role: str, stem: str, sha256: str = "0" * 64, path: str = "a/b.PNG") -> Entry:
    return Entry(role, stem, "who/what", "c0ffee", path, 7, sha256, 4, 3, "RGB")


def test_place_and_address() -> None:
    made = entry("near", "x-1", path="Code/Triple Series/é#1.JPG")
    assert made.place == "near/x-1.jpg"
    assert made.url("http://127.0.0.1:8/") == "http://127.0.0.1:8/who/what/c0ffee/Code/Triple%20Series/%C3%A9%231.JPG"


def test_identity_follows_roles_stems_and_bytes_but_not_order_or_place() -> None:
    one, other = entry("ir", "1", "a" * 64), entry("vi", "1", "b" * 64)
    known = manifest.identity((one, other))
    assert re.fullmatch(r"[0-9a-f]{12}", known)
    assert manifest.identity((other, one)) == known
    assert manifest.identity((one._replace(repo="else/where", path="z.png"), other)) == known
    for changed in (one._replace(role="mid"), one._replace(stem="2"), one._replace(sha256="c" * 64)):
        assert manifest.identity((changed, other)) != known


def test_identities_do_not_change_by_accident() -> None:
    """Results name them."""
    wanted = {"lytro": "ee663bb234f5", "tno": "98a90d68f201", "mfi_whu": "f3c12e7f82aa", "ct_mri": "6be3fe7429bc"}
    assert {name: manifest.identity(manifest.load(name)) for name in wanted} == wanted


def test_a_set_without_manifest() -> None:
    assert not manifest.exists("m3fd")
    with pytest.raises(InputError, match="m3fd has no manifest"):
        manifest.load("m3fd")


@pytest.mark.parametrize("name", NAMES)
def test_the_manifests_of_the_project_are_sound(name: str) -> None:
    entries, data = manifest.load(name), registry.load(name, "nowhere")
    with Path(CONF, "manifest", f"{name}.csv").open() as file:
        assert next(csv.reader(file)) == list(Entry._fields)
    roles = [*data.roles, *([data.reference] if data.reference else [])]
    assert {e.role for e in entries} == set(roles)
    assert len({(e.role, e.stem) for e in entries}) == len(entries)
    assert len(entries) == len(roles) * len(manifest.stems(entries))  # every scene is complete
    for e in entries:
        assert re.fullmatch(r"[0-9a-f]{64}", e.sha256)
        assert re.fullmatch(r"[0-9a-f]{40}", e.commit)
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", e.repo)
        assert min(e.bytes, e.width, e.height) > 0
        assert e.mode in ("L", "RGB")
        assert io.is_picture(e.place)
        assert not PurePosixPath(e.path).is_absolute()
        assert ".." not in PurePosixPath(e.path).parts
        assert "/" not in e.stem


def test_every_set_of_the_registry_loads_and_a_wrong_name_is_answered_with_near_ones() -> None:
    assert {data.name for data in registry.load_all("nowhere")} == {*NAMES, "m3fd", "llvip"}
    with pytest.raises(InputError, match="no data set 'lytr'; did you mean lytro"):
        registry.load("lytr")
