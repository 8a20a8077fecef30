"""SwinFusion: window attention against a loop over pixels, its borders, its variants, its reach."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import claims
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fuse.config import build
from fuse.errors import InputError
from fuse.models import swinfusion
from fuse.models.swinfusion import Attention, Block, Cross, SwinFusion, cut, places, to_windows, uncut, walls

Composed = Callable[..., dict[str, Any]]


def test_windows_are_cut_row_by_row_and_put_together_again() -> None:
    x = torch.arange(16 * 24.0).view(1, 16, 24, 1)
    windows = cut(x, 0)
    assert windows.shape == (1, 6, 64, 1)
    assert torch.equal(windows[0, 1, :, 0].view(8, 8), x[0, :8, 8:16, 0])
    assert torch.equal(windows[0, 3, :, 0].view(8, 8), x[0, 8:, :8, 0])
    assert torch.equal(cut(x, 4)[0, 0, :, 0].view(8, 8), x[0, 4:12, 4:12, 0])
    for shift in (0, 4):
        assert torch.equal(uncut(cut(x, shift), 16, 24, shift), x)


def test_relative_places_are_numbered_once_each() -> None:
    number = places()
    assert number[0, 63].item() == 0  # seven up and seven left of the last pixel
    assert number[63, 0].item() == 15 * 15 - 1
    assert set(number.diagonal().tolist()) == {7 * 15 + 7}
    assert len(number.unique()) == 225


@pytest.mark.parametrize("shift", [0, 4])
def test_attention_stays_inside_windows_and_never_crosses_the_border(shift: int) -> None:
    """Every pixel asks those of its own window, found by its place in the picture; nothing is rolled."""
    attention = Attention()
    claims.lively(attention, 1.0)
    w = {name: value.numpy().astype(np.float64) for name, value in attention.state_dict().items()}
    asking, asked = torch.randn(2, 1, 16, 16, 60, generator=torch.Generator().manual_seed(0))
    q = asking[0].numpy() @ w["query.weight"].T + w["query.bias"]
    k, v = np.split(asked[0].numpy() @ w["key_value.weight"].T + w["key_value.bias"], 2, -1)
    wanted = np.zeros((16, 16, 60))
    window = [(i + shift) // 8 for i in range(16)]  # with a shift: 4, 8 and 4 pixels
    for y, x in [(0, 0), (3, 9), (4, 4), (11, 12), (15, 2), (15, 15)]:
        rows, columns = ([i for i in range(16) if window[i] == window[here]] for here in (y, x))
        others = [(i, j) for i in rows for j in columns]
        for head in range(6):
            part = slice(10 * head, 10 * head + 10)
            scores = np.array(
                [
                    q[y, x, part] @ k[i, j, part] / 10**0.5 + w["bias"][(y - i + 7) * 15 + x - j + 7, head]
                    for i, j in others
                ]
            )
            shares = np.exp(scores - scores.max())
            wanted[y, x, part] = sum(s * v[i, j, part] for s, (i, j) in zip(shares, others, strict=True)) / shares.sum()
        made = attention(asking, asked, shift)[0, y, x].detach().numpy()
        np.testing.assert_allclose(made, wanted[y, x] @ w["output.weight"].T + w["output.bias"], atol=1e-4)


def test_walls_stand_only_where_the_shift_has_joined_borders() -> None:
    assert walls(16, 16, 0, torch.device("cpu")) is None
    wall = walls(24, 16, 4, torch.device("cpu"))
    assert wall is not None
    assert wall.shape == (6, 64, 64)
    assert not wall[0].any()  # the first window lies inside
    assert (wall[1] != 0).float().mean() == 0.5  # left half, right half


def test_chunks_of_windows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    block = Block(4, 0.0)
    claims.lively(block)
    x = torch.randn(2, 16, 24, 60)
    whole = block(x)
    monkeypatch.setattr(swinfusion, "CHUNK", 4)
    torch.testing.assert_close(block(x), whole)


def test_a_block_adds_attention_and_mlp_after_norms() -> None:
    block = Block(0, 0.1)
    claims.lively(block)
    x = torch.randn(1, 8, 8, 60)
    normed = F.layer_norm(x, (60,), block.norm1.weight, block.norm1.bias)
    y = x + block.attention(normed, normed, 0)
    torch.testing.assert_close(block(x), y + block.mlp(block.norm2(y)))


def test_across_each_source_asks_the_other() -> None:
    cross = Cross(0, 0.0)
    claims.lively(cross)
    a, b = torch.randn(2, 1, 8, 8, 60)
    made = a + cross.a.attention(cross.a.norm1(a), cross.b.norm1(b), 0)
    torch.testing.assert_close(cross(a, b)[0], made + cross.a.mlp(cross.a.norm2(made)))


def test_stochastic_depth_leaves_out_branches_in_training_alone() -> None:
    block = Block(0, 0.5)
    torch.manual_seed(0)
    x = torch.ones(2000, 1, 1, 1)
    kept = block.kept(x)
    assert set(kept.flatten().tolist()) == {0.0, 2.0}
    assert kept.mean().item() == pytest.approx(1, abs=0.1)
    assert torch.equal(block.eval().kept(x), x)


def test_parameters_are_those_of_the_paper() -> None:
    network = SwinFusion()
    assert claims.parameters(network) == 973_681
    assert claims.parameters(network.first_b) == 8_430
    assert claims.parameters(SwinFusion("ours")) == 973_681 - 8_430 + claims.parameters(network.first_a)


@pytest.mark.parametrize("variant", ["released", "ours"])
def test_which_first_convolutions_are_called(variant: str) -> None:
    torch.manual_seed(0)
    network = SwinFusion(variant).eval()
    dead = ("first_b",) if variant == "released" else ()
    claims.learns_everywhere(network, network(*claims.pictures(16, 16)), dead)


def test_in_use(tmp_path: Path) -> None:
    network = SwinFusion()
    claims.lively(network)
    claims.fits_any_size(network, ranged=False)
    claims.is_settled(network)
    claims.survives_saving(network, tmp_path)


def test_sides_are_reflected_to_a_multiple_of_the_window() -> None:
    x = claims.pictures(13, 16, 1)[0]
    assert torch.equal(to_windows(x), F.pad(x, [0, 0, 0, 3], mode="reflect"))
    assert torch.equal(to_windows(x[..., :2, :]), F.pad(x[..., :2, :], [0, 0, 0, 6], mode="replicate"))
    network = SwinFusion()
    claims.lively(network)
    with torch.no_grad():
        torch.testing.assert_close(network(x, x), network(to_windows(x), to_windows(x))[..., :13, :])


def test_what_is_farther_than_the_margin_does_not_matter() -> None:
    network = SwinFusion()
    claims.lively(network, 1.0).double()
    given = [x.double() for x in claims.pictures(8, 168)]
    place = 81  # the second pixel of a window, from where the left is farthest
    with torch.no_grad():
        before = network(*given)
        given[0][..., 4, place] += 0.5
        moved = ((network(*given) - before).abs().amax((0, 1, 2)) > 1e-13).nonzero()
    assert int((moved - place).abs().max()) == network.margin == 72


def test_tiles_like_whole() -> None:
    network = SwinFusion()
    claims.lively(network)
    claims.tiles_like_whole(network, 8, 240, 64)


@pytest.mark.usefixtures("unchecked_types")
def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(InputError, match="variant 'paper' is not known; choose released or ours"):
        build({"_target_": "fuse.models.swinfusion.SwinFusion", "variant": "paper"})


def test_the_recipe_is_that_of_the_paper(composed: Composed) -> None:
    cfg = composed("train", "experiment=swinfusion_tno")
    assert [cfg["loss"][name]["weight"] for name in ("intensity", "texture", "structure")] == [20, 20, 10]
    assert (cfg["optim"]["lr"], cfg["run"]["steps"], cfg["run"]["ema"]) == (2e-4, 10000, 0.999)
