"""Several processes that train together, forked from one that has imported everything; and what they are told to do."""

import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from commands import ENVIRONMENT, ROOT
from torch import Tensor, nn
from torch.nn import functional as F

from fuse import launch, ranks
from fuse.adversarial import Adversarial
from fuse.data.patches import Patches
from fuse.data.sample import Sample
from fuse.data.synthetic import Synthetic
from fuse.losses import objectives
from fuse.losses.terms import mse
from fuse.shares import share
from fuse.steps import Direct, Loss, Term
from fuse.update import Update

BATCH, STEPS = 4, 3
# What a run imports on its way; optimisers import the compiler.
SLOW = ("fuse.train", "fuse.models.densefuse", "hydra.utils", "torch.utils.tensorboard", "torch._dynamo")


class Drawing(nn.Module):
    """A fuser with all that depends on the batch: batch norm, dropout, a number drawn for each picture."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Conv2d(6, 1, 1)
        self.dropout = nn.Dropout(0.3)

    def forward(self, *sources: Tensor) -> Tensor:
        x = self.dropout(F.leaky_relu(self.norm(self.first(torch.cat(sources, 1))), 0.2))
        keep = torch.rand(len(x), 1, 1, 1) >= 0.2
        made: Tensor = torch.sigmoid(self.last(x * keep))
        return made


class Critic(nn.Module):
    """One score for each picture, by way of batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.last(torch.tanh(self.norm(self.first(x)))).mean((1, 2, 3))
        return scores


def adversarial() -> dict[str, Any]:
    """Three steps of a GAN in float64 with soft labels and a gradient penalty; weights, buffers and terms."""
    torch.manual_seed(0)
    networks = {"fuser": Drawing().double(), "critic": Critic().double()}
    update = Update(
        {name: torch.optim.SGD(network.parameters(), 0.05, 0.9) for name, network in networks.items()},
        0.5,
        torch.device("cpu"),
    )
    gan = Adversarial(
        networks,
        Loss({"mse": Term(1.0, lambda fused, sample: mse(fused, sample, "near"))}),
        update,
        {"critic": {"real": lambda sample: sample.sources[0], "fake": lambda fused, sample: fused}},
        objectives.LeastSquares(),
        penalty=objectives.gradient_penalty,
        critic_steps=2,
    )
    protocol, generator, terms = share(gan, BATCH), torch.Generator(), {}
    for step in range(STEPS):
        torch.manual_seed(step)
        generator.manual_seed(step)
        pair = (torch.rand(BATCH, 1, 12, 12, generator=generator, dtype=torch.float64) for _ in range(2))
        terms = protocol(Sample(tuple(pair), None, (), ("near", "far")), step, generator) | update.norms
    values = {f"{n}.{key}": x for n, network in networks.items() for key, x in network.state_dict().items()}
    return {"weights": values, "terms": terms}


def spoiled() -> dict[str, Tensor]:
    """The weights before and after a step in which one picture of the last process is no number."""
    torch.manual_seed(0)
    fuser = nn.Conv2d(1, 1, 1)
    update = Update({"fuser": torch.optim.Adam(fuser.parameters())}, None, torch.device("cpu"))
    loss = Loss({"mse": Term(1.0, lambda fused, sample: mse(fused, sample, "a"))})
    picture, before = torch.rand(BATCH, 1, 4, 4), fuser.weight.detach().clone()
    picture[-1] = torch.nan
    terms = share(Direct({"fuser": fuser}, loss, update), BATCH)(
        Sample((picture,), None, (), ("a",)), 0, torch.Generator()
    )
    return {"before": before, "after": fuser.weight.detach(), "bad": update.bad, "loss": terms["loss"]}


def pictures() -> dict[str, Tensor]:
    """What is drawn from a bank, and its first pixels after the first process has written there."""
    data = Synthetic(size=40, train=2, val=1, test=1)
    cut = Patches(data.samples("train"), 32, BATCH, channels=1)
    drawn = cut(0, 0, torch.Generator().manual_seed(0))
    if ranks.first():
        cut.bank[:3] = torch.tensor([7, 8, 9])
    ranks.agreed(False)
    return {"near": drawn.sources[0], "pixels": cut.bank[:3].clone()}


def trained(settings: dict[str, Any], out: str) -> float | None:
    """A run."""
    return ranks.together(settings, Path(out)) if launch.rank() == 0 else ranks.together({}, Path("elsewhere"))


JOBS: dict[str, Callable[..., Any]] = {f.__name__: f for f in (adversarial, spoiled, pictures, trained)}


def member(job: str, given: list[Any], rank: int, count: int, folder: Path) -> int:
    """One of the processes: does the job and leaves its result behind."""
    meeting = f"file://{folder / 'meeting'}"
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count), FUSE_MEETING=meeting)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")
    try:
        if job == "trained":
            result = trained(*given)
        else:
            with joined():
                result = JOBS[job](*given)
        torch.save(result, folder / f"{rank}.pt")
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


@contextmanager
def joined() -> Iterator[None]:
    import torch.distributed as dist

    dist.init_process_group("gloo", os.environ[launch.MEETING], world_size=launch.count(), rank=launch.rank())
    try:
        yield
    finally:
        dist.destroy_process_group()


def serve() -> None:
    """Fork the members of every job that a line of standard input names, and say how they ended."""
    torch.set_num_threads(1)
    for line in sys.stdin:
        job, given, count, folder = json.loads(line)
        members = []
        for rank in range(count):
            if (pid := os.fork()) == 0:
                os._exit(member(job, given, rank, count, Path(folder)))
            members.append(pid)
        sys.stdout.write(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in members]) + "\n")
        sys.stdout.flush()


class Pairs:
    """Does a job with several processes, and returns what each came to."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", f"import {', '.join(SLOW)}, pairs; pairs.serve()"]
        paths = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
        self.process = subprocess.Popen(
            command, env=ENVIRONMENT | paths, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, job: str, *given: Any, count: int = 2) -> list[Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            self.process.stdin.write(json.dumps([job, given, count, folder]) + "\n")
            self.process.stdin.flush()
            codes = next(json.loads(line) for line in self.process.stdout if line.startswith("["))
            assert codes == [0] * count, codes
            return [torch.load(Path(folder) / f"{rank}.pt") for rank in range(count)]
