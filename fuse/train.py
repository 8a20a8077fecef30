"""The training loop, whole."""

import copy
import itertools
import logging
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import record_function

import fuse
from fuse import checkpoint, determinism, infer, judge, profile, ranks
from fuse.config import Run, build, check, construct, near
from fuse.data import unchanged
from fuse.data.sample import Sample, Split, enlarged
from fuse.errors import InputError
from fuse.log import Log
from fuse.metrics import METRICS
from fuse.parts import Parts
from fuse.shares import share
from fuse.steps import Loss, Term, Terms
from fuse.update import Autocast, Update, follow, interruptible, pick

log = logging.getLogger(__name__)


def run(cfg: dict[str, Any], out: Path) -> float | None:
    """Train as the configuration says, into `out`; the best validation score.

    Raises:
        InputError: the configuration or the data cannot be used, or a loss stopped being a number.
    """
    if problems := check(cfg):
        raise InputError("\n".join(problems))
    settings = Run(**cfg["run"])
    if settings.objective not in METRICS:
        raise InputError(f"run.objective={settings.objective} is not a metric; {near(settings.objective, METRICS)}")
    if METRICS[settings.objective].better is None:
        raise InputError(f"run.objective={settings.objective} is neither better high nor low; choose another metric")
    determinism.enforce(settings.deterministic)
    ranks.claim(settings.devices, settings.device)
    device = pick(settings.device)
    torch.set_flush_denormal(True)  # denormal numbers make some networks ten times slower on a CPU
    torch.manual_seed(settings.seed)

    model, optim, data = cfg["model"], cfg["optim"], build(cfg["data"])
    if settings.resume and ranks.first():
        unchanged.compare(data, out)
    networks = {name: build(model[name]).to(device) for name in model if name not in ("about", "step", "patches")}
    fuser, facts = networks["fuser"], infer.traits(networks["fuser"])
    schedule = construct(optim["schedule"])
    optimisers = {
        name: build(
            (name != "fuser" and optim.get("critics")) or optim["optimiser"],
            params=network.parameters(),
            lr=optim["lr"],
        )
        for name, network in networks.items()
    }
    update = Update(optimisers, optim["clip"], device)
    half = settings.precision == "bf16" or (settings.precision == "auto" and device.type == "cuda")
    forward = {name: Autocast(network, device.type) if half else network for name, network in networks.items()}
    loss = recipe(cfg["loss"])
    with ranks.in_turn():  # some read or write an earlier run
        protocol = build(model["step"], networks=forward, loss=loss, update=update)
    average = copy.deepcopy(fuser).requires_grad_(False) if settings.ema else fuser  # with what a protocol loads
    roles = [*data.roles, *(["reference"] if data.reference else [])]
    loss.check(getattr(protocol, "roles", roles))
    if METRICS[settings.objective].uses == "reference" and not data.reference:
        raise InputError(f"run.objective={settings.objective} needs a reference, which {data.name} lacks; name another")

    cut = build(model["patches"], samples=Split(data, "train"), channels=facts.channels, luma=facts.luma, device=device)
    protocol = Parts(share(protocol, cut.batch), update, forward)
    watched = list(itertools.islice(data.samples("val"), settings.val_pairs))
    kept = networks | {"fuser": average} | ({"iterate": fuser} if settings.ema else {})
    card = {"fuser": model["fuser"], "data": cfg["data"], "version": fuse.__version__}
    start, pending = 0, []
    best: float | None = None
    if settings.resume:
        state = ranks.from_first(lambda: checkpoint.restore(out / "last", kept), device)
        start, best, pending = state["step"], state["best"], state["pending"]
        for name, optimiser in optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
    ranks.alike(networks.values())

    def advance(step: int, sample: Sample, generator: torch.Generator) -> Terms:
        for group in (group for optimiser in optimisers.values() for group in optimiser.param_groups):
            group["lr"] = optim["lr"] * schedule(step, settings.steps)
        return protocol(sample, step, generator) | update.norms

    if not ranks.first():  # the others of several devices only train
        with interruptible() as interrupted:
            ranks.accompany(batches(cut, start, settings, device), advance, interrupted)
        return None
    if not settings.resume:
        unchanged.record(data, out)
    determinism.record(out, settings.seed, device, settings.deterministic)
    meter = Log(out, start, settings.steps, cut.batch, pending, settings.logger)

    def save(folder: str, step: int) -> None:
        meter.check(step)
        inner = {name: optimiser.state_dict() for name, optimiser in optimisers.items()}
        state = {"step": step, "best": best, "pending": meter.pending, "optimisers": inner}
        scores = {} if best is None else {settings.objective: best}
        checkpoint.save(out / folder, kept, card | {"step": step}, scores, state, keep=folder == "last")

    log.info("%s on %s, %d windows of %d pixels", type(fuser).__name__, data.name, cut.windows, cut.size)
    log.info("%d steps of %d patches on %s in %s", settings.steps, cut.batch, device, "bf16" if half else "float32")
    with interruptible() as interrupted:
        timed = meter.timed(batches(cut, start, settings, device))
        for step, sample, generator in profile.watched(timed, out, device) if settings.profile else timed:
            terms = advance(step, sample, generator)
            if settings.ema:
                follow(average, fuser, min(settings.ema, (1 + step) / (10 + step)))
            meter.add(terms)

            done, last, stop = step + 1, step + 1 == settings.steps, ranks.agreed(interrupted())
            if done % settings.log_every == 0 or last:
                meter.line(done, {"lr": optim["lr"] * schedule(step, settings.steps)})
            if done % settings.val_every == 0 or last:
                scores, pictures = validate(average, watched, settings.objective)
                meter.scores(done, scores, pictures)
                score = scores[settings.objective]
                if best is None or METRICS[settings.objective].improves(score, best):
                    best = score
                    save("best", done)
            if done % settings.save_every == 0 or last or stop:
                save("last", done)
            if stop:
                raise KeyboardInterrupt(f"after step {done}; go on with: fuse-train run.resume=true run.dir={out}")
    meter.close()
    return best


def recipe(node: Mapping[str, Any]) -> Loss:
    """The loss of a recipe in `conf/loss/`: its range, and every other key a term with its weight."""
    terms = {
        name: Term(entry["weight"], construct(entry["term"]), entry["term"].get("role"))
        for name, entry in node.items()
        if name != "range"
    }
    return Loss(terms, node["range"])


def batches(
    cut: Callable[[int, int, torch.Generator], Sample], start: int, settings: Run, device: torch.device
) -> Iterator[tuple[int, Sample, torch.Generator]]:
    """Batches step by step. All that is random in a step follows from the seed and its number, hence exact resuming."""
    generator = torch.Generator(device)
    for step in range(start, settings.steps):
        mixed = zlib.crc32(f"{settings.seed}/{step}".encode())
        torch.manual_seed(mixed)  # for networks with dropout
        generator.manual_seed(mixed)
        yield step, cut(step, settings.seed, generator), generator


@record_function("fuse.validation")
def validate(fuser: nn.Module, samples: list[Sample], objective: str) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Mean scores of whole pictures, and per picture a strip of sources, fused, and reference where there is one."""
    fuser.eval()
    names = dict.fromkeys([*judge.chosen(None, samples[0].reference is not None), objective])
    rows, strips = [], {}
    for sample in samples:
        fused = infer.fuse(fuser, sample.sources)
        rows.append(judge.scores(fused, enlarged(sample), names))
        strips[sample.names[0]] = judge.strip(fused, sample)
    fuser.train()
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}, strips
