"""Training in two phases: what is asked of the fuser, what learns, and where a phase may start from."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fuse import checkpoint, train
from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.losses import terms
from fuse.models.nestfuse import NestFuse
from fuse.phases import Phased, each, inner, one
from fuse.steps import Loss, Term
from fuse.update import Autocast, Update

Tiny = Callable[..., tuple[dict[str, Any], Path]]


class Toy(nn.Module):
    """Reconstructs by one number, fuses by another."""

    def __init__(self) -> None:
        super().__init__()
        self.coder, self.joiner = nn.Linear(1, 1), nn.Linear(1, 1)
        self.seen: list[int] = []

    def forward(self, *sources: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        self.seen.append(len(sources))
        coded = [self.coder(x.unsqueeze(-1)).squeeze(-1) for x in sources]
        made = coded[0] if len(coded) == 1 else self.joiner(torch.stack(coded).mean(0).unsqueeze(-1)).squeeze(-1)
        return made, {"features": coded[0]}


def batch() -> Sample:
    ir, vi = torch.rand(2, 3, 1, 4, 5, generator=torch.Generator().manual_seed(0))
    return Sample((ir, vi), None, (), ("ir", "vi"))


def recipe() -> Loss:
    pixel = partial(each, term=partial(terms.mse, role="source"))
    return Loss({"pixel": Term(2, pixel), "fused": Term(3, partial(terms.mse, role="ir"))})


def phased(fuser: nn.Module, **settings: Any) -> Phased:
    update = Update({"fuser": torch.optim.SGD(fuser.parameters(), 0.1)}, None, torch.device("cpu"))
    settings = {"until": 0.5, "steps": 4, "first": ["pixel"], "second": ["fused"]} | settings
    return Phased({"fuser": fuser}, recipe(), update, **settings)


def weights(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_each_source_is_reconstructed_until_a_step_and_fused_after_it() -> None:
    torch.manual_seed(0)
    fuser, sample = Toy(), batch()
    step = phased(fuser)
    told = [step(sample, i, torch.Generator()) for i in range(4)]
    assert fuser.seen == [1, 1, 2, 2]
    assert [sorted(x) for x in told] == [["loss", "pixel"]] * 2 + [["fused", "loss"]] * 2
    assert told[0]["loss"].item() == pytest.approx(2 * told[0]["pixel"].item())
    assert told[3]["loss"].item() == pytest.approx(3 * told[3]["fused"].item())


def test_the_first_phase_trains_the_part_and_the_second_leaves_it_alone() -> None:
    torch.manual_seed(0)
    fuser, sample = Toy(), batch()
    step = phased(fuser, part="coder")
    coder, joiner = weights(fuser.coder), weights(fuser.joiner)
    step(sample, 1, torch.Generator())
    assert not torch.equal(weights(fuser.coder), coder)
    assert torch.equal(weights(fuser.joiner), joiner)
    coder = weights(fuser.coder)
    step(sample, 2, torch.Generator())
    assert torch.equal(weights(fuser.coder), coder)
    assert not torch.equal(weights(fuser.joiner), joiner)


def test_without_a_part_everything_learns_in_the_second_phase() -> None:
    torch.manual_seed(0)
    fuser = Toy()
    before = weights(fuser)
    phased(fuser)(batch(), 2, torch.Generator())
    assert (weights(fuser) != before).all()


def test_each_and_one_by_hand() -> None:
    sample = Sample((torch.zeros(2, 1, 1, 1), torch.full((2, 1, 1, 1), 4.0)), None, (), ("ir", "vi"))
    made = torch.tensor([1.0, 1.0, 2.0, 0.0]).view(4, 1, 1, 1)  # two of ir, then two of vi
    squares = partial(terms.mse, role="source")
    assert each(made, sample, squares).item() == 1 + (4 + 16) / 2
    assert one(made, sample, "vi", squares).item() == 10
    assert one(made, sample, "ir", squares).item() == 1


def test_the_terms_of_the_first_phase_read_what_the_fuser_tells_of_each_source() -> None:
    given: list[Sample] = []

    def reading(fused: Tensor, sample: Sample) -> Tensor:
        given.append(sample)
        return fused.mean()

    fuser, sample = Toy(), batch()
    update = Update({"fuser": torch.optim.SGD(fuser.parameters(), 0.1)}, None, torch.device("cpu"))
    step = Phased({"fuser": fuser}, Loss({"t": Term(1, reading)}), update, 0.5, 2, ["t"], ["t"])
    _, wanted = fuser(sample.sources[1])
    for i in range(2):
        step(sample, i, torch.Generator())
    assert [sorted(x.inside) for x in given] == [["features1", "features2"], ["features"]]
    torch.testing.assert_close(given[0].inside["features2"], wanted["features"])
    assert given[0].roles == given[1].roles == ("ir", "vi")


@pytest.mark.parametrize("part", ["coder", None])
def test_a_start_is_loaded_and_ends_the_first_phase(part: str | None, tmp_path: Path) -> None:
    torch.manual_seed(0)
    fuser, other = Toy(), Toy()
    trained = other.coder if part else other
    checkpoint.save(tmp_path / "run" / "best", {"fuser": trained}, {}, {}, {})
    step = phased(fuser, part=part, start=str(tmp_path / "run"))
    assert torch.equal(weights(fuser.coder), weights(other.coder))
    assert torch.equal(weights(fuser.joiner), weights(other.joiner)) == (part is None)
    step(batch(), 0, torch.Generator())
    assert fuser.seen == [2]
    assert torch.equal(weights(fuser.coder), weights(other.coder)) == (part is not None)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="names the term 'pixels'; did you mean pixel"):
        phased(Toy(), first=["pixels"])
    with pytest.raises(InputError, match=r"until=2000: a share of all steps"):
        phased(Toy(), until=2000)
    with pytest.raises(InputError, match="part=encoder: Toy has coder, joiner"):
        phased(Toy(), part="encoder")
    with pytest.raises(InputError, match="holds no checkpoint"):
        phased(Toy(), start=str(tmp_path))
    checkpoint.save(tmp_path / "c", {"fuser": Toy().coder}, {}, {}, {})
    with pytest.raises(InputError, match="does not fit Toy"):
        phased(Toy(), start=str(tmp_path / "c"))


def test_a_fuser_in_lower_precision_is_still_found() -> None:
    fuser = Toy()
    assert inner(Autocast(fuser, "cpu")) is fuser
    assert phased(fuser, part="coder").kept is fuser.coder


def test_two_runs_train_a_fuser_that_keeps_the_auto_encoder_of_the_first(tiny: Tiny, tmp_path: Path) -> None:
    short = ("run.steps=2", "run.evaluate=false", "run.val_every=2")
    cfg, first = tiny("first", "model=nestfuse", *short)
    train.run(cfg, first)
    cfg, second = tiny("second", "model=rfnnest", *short, f"model.step.start={first}", "loss.detail.term.role=far")
    train.run(cfg, second)
    coder = NestFuse()
    coder.load_state_dict(checkpoint.weights(first / "best" / checkpoint.FUSER))
    fuser, _ = checkpoint.load(second)
    assert torch.equal(weights(fuser.get_submodule("autoencoder")), weights(coder))
