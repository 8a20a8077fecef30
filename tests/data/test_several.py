"""Several sets as one: names, splits, what is missing, and what refuses to join."""

import logging
from pathlib import Path

import pytest
import torch
from test_sets import made, toy

from fuse.data.sample import Split
from fuse.data.several import Several
from fuse.data.synthetic import Synthetic
from fuse.errors import InputError


def joined(root: Path) -> Several:
    first = toy(made(root))
    second = Synthetic(16, 2, 1, 1, roles=("near", "far"))
    return Several("both", "focus", ["x", "y"], {"toy": first, "toy-made": second})


def test_scenes_of_all_parts_one_part_after_the_other(tmp_path: Path) -> None:
    data = joined(tmp_path)
    assert data.stems("train") == ["toy-11", "toy-b_1", "toy-made-train-000", "toy-made-train-001"]
    assert data.stems("few") == ["toy-a_1"]  # the other part has no such split
    samples = list(Split(data, "train"))
    assert [sample.names for sample in samples] == [(stem,) for stem in data.stems("train")]
    assert {sample.roles for sample in samples} == {("x", "y")}
    assert {sample.reference for sample in samples} == {None}
    assert torch.equal(samples[1].sources[0], data.parts["toy"].sample("b_1").sources[0])
    assert samples[2].sources[0].shape == (1, 3, 16, 16)


def test_the_identity_is_that_of_all_parts(tmp_path: Path) -> None:
    data = joined(tmp_path)
    before = data.identity("train")
    assert before == joined(tmp_path).identity("train") != data.identity("test")
    (tmp_path / "toy" / "near" / "11.png").write_bytes((tmp_path / "toy" / "near" / "2.png").read_bytes())
    assert data.identity("train") != before


def test_a_part_that_is_not_here_is_left_out_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = joined(tmp_path)
    for role in ("near", "far"):
        (tmp_path / "toy" / role / "2.png").unlink()  # all of its split val
    with caplog.at_level(logging.WARNING):
        assert data.stems("val") == data.stems("val") == ["toy-made-val-000"]
    assert [record.getMessage()[:26] for record in caplog.records] == ["both goes without toy: spl"]


def test_what_cannot_be_joined(tmp_path: Path) -> None:
    data = joined(tmp_path)
    with pytest.raises(InputError, match="no part of both has a split 'most'; they have all, test, few, val, train"):
        data.stems("most")
    with pytest.raises(InputError, match=r"data\.parts\.toy has the sources near, far, not 3"):
        Several("three", "focus", ["a", "b", "c"], data.parts)
    with pytest.raises(InputError, match="is empty"):
        Several("none", "focus", ["a", "b"], {})
    nowhere = Several("nowhere", "focus", ["a", "b"], {"toy": toy(tmp_path / "other")})
    with pytest.raises(InputError, match="data set toy is not in"):
        nowhere.stems("train")
