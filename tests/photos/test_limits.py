"""What a limit on memory allows, what a method takes, and what is said where it is too much."""

import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fuse import infer
from fuse.errors import InputError
from fuse.methods import RULES
from fuse.models.average import Average
from fuse.models.densefuse import DenseFuse
from fuse.models.gff import Gff
from fuse.models.pyramid import Laplacian
from fuse.models.structure import Structure
from fuse.photos import memory
from fuse.photos.memory import Plan

MB = 2**20


class Local(nn.Module):
    """A fuser that is local, and costs what a test says."""

    margin, multiple = 10, 16

    def forward(self, *sources: Tensor) -> Tensor:
        return sources[0]


class Everywhere(Local):
    """The same, if it saw the whole picture."""

    margin, everywhere = None, "it measures the mean"


@pytest.fixture
def of_hundred_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "cost", lambda *_: 100.0)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2G", 2 * 2**30),
        ("512M", 512 * MB),
        ("1.5 GiB", 3 * 2**29),
        ("300mb", 300 * MB),
        ("8k", 8192),
        ("1T", 2**40),
        (" 77 ", 77),
    ],
)
def test_amounts_of_memory(text: str, size: int) -> None:
    assert memory.parse(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "2X", "2 G B", "0", "0.0001k", "1e9", "two"])
def test_what_is_no_amount_of_memory(text: str) -> None:
    with pytest.raises(InputError, match=f"'{text}' is no amount of memory; write 2G"):
        memory.parse(text)


def test_sizes_in_words() -> None:
    assert [memory.shown(x) for x in (1, MB, 1000 * MB, 2**30, 2.55 * 2**30)] == [
        *("1 MB", "1 MB", "1000 MB", "1.0 GB"),
        "2.5 GB",
    ]


def test_the_default_is_half_of_what_is_free_and_never_more_than_4_gb(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory.available() > MB
    for free, limit in ((2**30, 2**29), (2**40, 2**32)):
        monkeypatch.setattr(memory, "available", lambda free=free: free)
        assert memory.default_limit() == limit


def test_tensors_are_counted_while_they_are_alive_and_views_once() -> None:
    def run() -> None:
        a = torch.zeros(1000)  # 4000 bytes
        b = a[10:].view(-1, 2)
        c = b + 1  # 3960 more
        del a
        c = c[:5]
        d = torch.cat([b.flatten(), c.flatten()])  # 4000 more
        del b, c
        torch.ones(500)  # 2000, beside the 4000 of d
        assert len(d) == 1000

    assert memory.peak_of(run) == 4000 + 3960 + 4000
    assert memory.peak_of(lambda: None) == 0


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_convolutions_copy_what_goes_in_and_out(kind: type[nn.Conv2d]) -> None:
    network, picture = kind(1, 20, 1), torch.zeros(1, 1, 10, 30)
    pixels = 4 * 10 * 30
    most = pixels * (20 + 16 + 32)  # the result; copies have a multiple of 16 channels
    assert memory.peak_of(lambda: network(picture)) == most


def test_the_cost_is_found_by_trial() -> None:
    class Hungry(Local):
        def forward(self, *sources: Tensor) -> Tensor:
            held = [torch.zeros(100, *x.shape[-2:]) for x in sources]  # 400 bytes per pixel and source
            return sum(sources) + held[0][:1]

    for count in (2, 5, 20):
        found = memory.cost(Hungry(), count, 1, torch.uint8) / memory.SPARE
        assert 400 < found < 440
    assert memory.cost(Gff(), 2, 3, torch.uint8) > 2 * memory.cost(Average(), 2, 3, torch.uint8)


@pytest.mark.usefixtures("of_hundred_bytes")
def test_a_plan_by_hand() -> None:
    frame = 4000 * 3000 * 6
    window = (512 + 2 * 16) ** 2  # the margin 10 and 4 for the map, on the next multiple
    whole = memory.PROGRAM + 9 * frame + 4000 * 3000 * 7 + 9 * window * 100
    assert memory.plan(Local(), 9, 3000, 4000, 3, torch.uint16, whole) == Plan(512, False, whole)
    smaller = memory.plan(Local(), 9, 3000, 4000, 3, torch.uint16, whole - 1)
    assert smaller == Plan(384, False, whole - 9 * 100 * (window - (384 + 32) ** 2))


@pytest.mark.usefixtures("of_hundred_bytes")
def test_decoding_the_last_picture_counts() -> None:
    assert memory.plan(Local(), 2, 6000, 8000, 3, torch.uint8, 2**40).peak == memory.PROGRAM + 15 * 6000 * 8000


@pytest.mark.usefixtures("of_hundred_bytes")
def test_pictures_that_do_not_fit_wait_in_a_file() -> None:
    many = memory.plan(Local(), 40, 3000, 4000, 3, torch.uint8, 2**30)
    assert many.spooled
    assert not memory.plan(Local(), 40, 3000, 4000, 3, torch.uint8, 3 * 2**30).spooled


@pytest.mark.usefixtures("of_hundred_bytes")
@given(
    count=st.integers(2, 300),
    height=st.integers(1, 9000),
    width=st.integers(1, 9000),
    channels=st.sampled_from([1, 3]),
    depth=st.sampled_from([torch.uint8, torch.uint16, torch.float32]),
    limit=st.integers(700, 9000),
)
@settings(max_examples=100)
def test_no_plan_is_above_the_limit(
    count: int, height: int, width: int, channels: int, depth: torch.dtype, limit: int
) -> None:
    for fuser in (Local(), Everywhere()):
        try:
            plan = memory.plan(fuser, count, height, width, channels, depth, limit * MB, others={})
        except InputError:
            continue
        assert plan.peak <= limit * MB
        assert (plan.tile is None) == (fuser.margin is None)
        assert plan.tile is None or (plan.tile % 16 == 0 and plan.tile >= 64)


@pytest.mark.usefixtures("of_hundred_bytes")
def test_a_limit_that_is_too_low_is_told_in_advance() -> None:
    with pytest.raises(
        InputError,
        match=r"2 pictures of 4000x3000 by Everywhere, which sees the whole picture at once \(it measures the mean\), "
        r"needs 2.9 GB of memory, 2.0 GB are allowed; allow more, or choose a method that can: local$",
    ):
        memory.plan(
            *(Everywhere(), 2, 3000, 4000, 3, torch.uint8, 2**31), others={"everywhere": Everywhere, "local": Local}
        )
    with pytest.raises(InputError, match=r"by Local in tiles of 64 pixels needs .* allow more; no rule can do"):
        memory.plan(Local(), 2, 30000, 40000, 3, torch.uint8, 2**31, others={"local": Local})


def test_rules_that_can_are_named() -> None:
    with pytest.raises(InputError, match=r"by Structure, .*\(its recursive filter runs along .* can: .*") as told:
        memory.plan(Structure(), 2, 4000, 6000, 3, torch.uint8, 2 * 2**30)
    named = str(told.value).split("can: ")[1].split(", ")
    assert set(named) == set(RULES) - {"dsift", "structure", "mertens"}


@pytest.mark.parametrize(("name", "limit"), [("gff", 2), ("laplacian", 2)])
def test_what_is_promised_of_the_defaults(name: str, limit: int) -> None:
    assert memory.plan(RULES[name](), 2, 4000, 6000, 3, torch.uint8, memory.MOST).peak <= 2 * 2**30
    for depth in (torch.uint8, torch.uint16):
        assert memory.plan(RULES[name](), 2, 8000, 12500, 3, depth, memory.MOST).peak <= 4 * 2**30


def test_rules_that_see_everything_say_why() -> None:
    facts = {name: infer.traits(rule()) for name, rule in RULES.items()}
    assert {name for name, known in facts.items() if known.everywhere} == {"dsift", "structure", "mertens"}


@pytest.mark.usefixtures("of_hundred_bytes")
def test_on_a_gpu_the_tiles_take_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    free = 0
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 2**40))

    def planned(fuser: nn.Module) -> Plan:
        return memory.plan(fuser, 20, 3000, 4000, 3, torch.uint8, 2**30 + 2**29, device="cuda")

    for side in (1024, 128):
        free = 20 * 100 * (side + 32) ** 2 * 5 // 4 + 1
        assert planned(Local()) == Plan(side, False, memory.PROGRAM + 23 * 4000 * 3000 * 3)
    with pytest.raises(InputError, match=r"Everywhere, .* needs 22.4 GB on the GPU, which has .* use the CPU"):
        planned(Everywhere())


def test_networks_have_larger_tiles_than_rules() -> None:
    assert memory.plan(DenseFuse(), 2, 3000, 4000, 3, torch.uint8, 2**40).tile == 1024
    assert memory.plan(Gff(), 2, 3000, 4000, 3, torch.uint8, 2**40).tile == 512


def test_margins_are_multiples_of_what_tiles_begin_at() -> None:
    assert memory.margin_of(Local()) == 16
    assert memory.margin_of(Local(), 7) == 32
    assert memory.margin_of(Laplacian(), 4) == 80
    assert memory.margin_of(Gff()) == 96
    assert memory.margin_of(DenseFuse()) == 32


@pytest.mark.usefixtures("of_hundred_bytes")
def test_a_disk_without_room_is_told_in_advance(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000 * MB))
    with pytest.raises(InputError, match=rf"need 1.3 GB in {tmp_path} meanwhile, which has 1000 MB; .* set TMPDIR"):
        memory.plan(Local(), 40, 3000, 4000, 3, torch.uint8, 2**30)
