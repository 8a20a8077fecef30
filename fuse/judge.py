"""Judging: every method on every picture, one row each, then tables and pages."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from fuse import checkpoint, explain, heap, report
from fuse import methods as ways
from fuse import protocol as protocols
from fuse.config import build, check, near
from fuse.data import color, io
from fuse.data.sample import Sample, enlarged
from fuse.errors import InputError
from fuse.methods import Method
from fuse.metrics import LEARNED, METRICS, applicable, measure
from fuse.metrics.learned import Distribution
from fuse.protocol import Protocol
from fuse.results import Results
from fuse.suspicion import signs
from fuse.update import pick

# What is measured unless something else is asked for; all of `METRICS` takes much longer.
USUAL = ("en", "sf", "sd", "ag", "mi", "mse", "psnr", "ssim", "q_g", "brightness_shift")
USUAL_REFERENCE = ("mse_ref", "psnr_ref", "psnr_inner", "ssim_ref")

AT_ONCE = 2**20  # pixels of one source that are measured together

# What every number rests on where no other protocol is asked for; it is written into every result.
USUAL_PROTOCOL = "fuse-1"
PROTOCOL = {
    "name": USUAL_PROTOCOL,
    "picture": "8 bit as stored; no stretch, no resizing, no crop",
    "luma": "floor(0.298936 R + 0.587043 G + 0.114021 B + 0.5)",
    "range": "0..255, computed in float64",
    "sizes": "smaller sources brought to the size of the largest, bicubic, before anything is measured",
    "sources": "values against several sources are combined as each metric states",
    "mean": "over the pairs of the split",
}


def command(cfg: dict[str, Any], out: Path) -> tuple[str, list[str]]:
    """What `fuse-eval` does: the table, or what explains the difference of two protocols, and what failed.

    Raises:
        InputError: the configuration cannot be used, or nothing could be judged.
    """
    given = [str(checkpoint.locate(Path(cfg["ckpt"])).resolve())] if cfg["ckpt"] else []
    given += cfg["method"] if isinstance(cfg["method"], list) else [cfg["method"]] if cfg["method"] else []
    if not given:
        raise InputError("nothing to judge: give ckpt=PATH, method=NAME, or method=[NAME,PATH,...]")
    problems = check(cfg)
    if cfg["tile"] is not None and not (isinstance(cfg["tile"], int) and cfg["tile"] > 0):
        problems.append(f"tile={cfg['tile']}: must be a side in pixels, or null")
    if problems:
        raise InputError("\n".join(problems))
    compared = [protocols.load(str(name)) for name in two(cfg["explain"])] if cfg["explain"] else []
    protocol = protocols.asked(cfg["protocol"])
    torch.set_flush_denormal(True)
    heap.keep()
    device, data = pick(cfg["device"]), build(cfg["data"])
    methods = [ways.resolve(str(name), device, cfg["tile"], cfg["trust"]) for name in given]
    names = [cfg["metrics"]] if isinstance(cfg["metrics"], str) else cfg["metrics"]
    if compared:
        return difference(methods, data, cfg["split"], out, compared[0], compared[1], names)
    trivial = ways.trivial(data.roles) if cfg["trivial"] else []
    other = None if protocol.name == USUAL_PROTOCOL else protocol
    return run(methods, data, cfg["split"], out, names, trivial, other, cfg["distribution"], device)


def two(given: Any) -> list[Any]:
    """The two names of `explain=[A,B]`.

    Raises:
        InputError: not two.
    """
    if not isinstance(given, list) or len(given) != 2:
        raise InputError(f"explain={given}: give the names of two protocols, as in explain=[cddfuse-2023,fuse-1]")
    return given


def after_training(cfg: dict[str, Any], run_folder: Path) -> str:
    """Judge the best checkpoint of a run beside a classical rule, on the split test, into `eval/` of the run folder."""
    device = pick(cfg["run"]["device"])
    own = cfg["model"]["fuser"]["_target_"].split(".")[0]  # who trains a network trusts its package
    data, trained = build(cfg["data"]), ways.resolve(str(run_folder), device, trust=[own])
    methods = [trained._replace(name="trained"), ways.resolve("laplacian", device)]
    shutil.rmtree(run_folder / "eval", ignore_errors=True)  # of an earlier checkpoint, if the run was resumed
    return run(methods, data, "test", run_folder / "eval", None, ways.trivial(data.roles))[0]


def scores(fused: Tensor, sample: Sample, names: Iterable[str] | None = None) -> dict[str, float]:
    """Metrics of a fused picture as stored, against its sample as stored; by default the usual ones."""
    return scores_together([fused], [sample], names)[0]


def scores_together(
    fused: Sequence[Tensor],
    samples: Sequence[Sample],
    names: Iterable[str] | None = None,
    device: torch.device | str = "cpu",
) -> list[dict[str, float]]:
    """`scores` of several pictures of one size in one batch, on a device.

    Everything is measured on 8 bit integer luma (`fuse.data.color.grey_levels`).
    """

    def batch(pictures: Iterable[Tensor]) -> Tensor:
        return torch.cat([color.grey_levels(x) for x in pictures]).to(device)

    sources = [batch(pictures) for pictures in zip(*(sample.sources for sample in samples), strict=True)]
    references = [sample.reference for sample in samples if sample.reference is not None]
    reference = batch(references) if references else None
    values = measure(batch(fused), sources, reference, chosen(names, reference is not None))
    return [{name: float(value[i]) for name, value in values.items()} for i in range(len(samples))]


def chosen(names: Iterable[str] | None, reference: bool) -> list[str]:
    """The metrics meant: those named; with None the usual ones that apply, with `all` every one that applies.

    Raises:
        InputError: a metric that there is not, or that needs a reference where there is none.
    """
    if names is None:
        return [*USUAL, *(USUAL_REFERENCE if reference else ())]
    wanted, known = list(names), applicable(reference)
    if wanted == ["all"]:
        return known
    known += [name for name, metric in LEARNED.items() if reference or metric.uses != "reference"]
    for name in (name for name in wanted if name not in known):
        why = "needs a reference, which these data lack" if name in METRICS | LEARNED else "is not a metric"
        raise InputError(f"metrics: '{name}' {why}; {near(name, known)}")
    return wanted


def strip(fused: Tensor, sample: Sample) -> Tensor:
    """Sources, fused picture, reference or else difference to the average, side by side: `(3, h, w)` in [0, 1].

    The difference is shown four times amplified around mid-grey.
    """
    pictures = [shown(x) for x in (*enlarged(sample).sources, fused)]
    if sample.reference is not None:
        return torch.cat([*pictures, shown(sample.reference)], 2)
    average = torch.stack(pictures[:-1]).mean(0)
    return torch.cat([*pictures, (0.5 + 4 * (pictures[-1] - average)).clamp(0, 1)], 2)


def shown(picture: Tensor) -> Tensor:
    """A stored picture `(1, c, h, w)` as `(3, h, w)` in [0, 1]."""
    return (picture[0].float() / torch.iinfo(picture.dtype).max).expand(3, -1, -1)


def run(
    methods: Sequence[Method],
    data: Any,
    split: str,
    out: Path,
    names: Sequence[str] | None = None,
    trivial: Sequence[Method] = (),
    protocol: Protocol | None = None,
    distribution: Sequence[str] = (),
    device: torch.device | str = "cpu",
) -> tuple[str, list[str]]:
    """Judge `methods` (and the `trivial` rows) on a split into the folder `out`; the table, and what failed.

    By this project's own protocol, or by the one given. A picture that fails is listed and the others go on; pictures
    from folders that look turned, stretched, saturated or copied are named under the table. Pictures of one size are
    measured together, on `device`, while the next are read. `distribution`: what is measured of all pictures at once.

    Raises:
        InputError: nothing at all could be judged, or `out` holds another evaluation.
    """
    names = protocols.columns(protocol, names) if protocol else chosen(names, data.reference is not None)
    everyone = [*methods, *(row for row in trivial if row.name not in {method.name for method in methods})]
    if len({method.name for method in everyone}) < len(everyone):
        raise InputError(
            f"two methods share a name among {', '.join(method.name for method in methods)}; rename a folder"
        )
    if taken := {method.name for method in everyone} & {*data.roles, "reference"}:
        raise InputError(f"a method is called {taken.pop()} like a picture of these data; rename its folder")
    facts: dict[str, Any] = {
        "protocol": protocols.described(protocol, names) if protocol else PROTOCOL,
        **about(data, split, everyone),
    }
    over_set = {method.name: Distribution(distribution) for method in everyone} if distribution else {}
    failures: list[str] = []
    doubts: list[str] = []
    with Results(out, facts, names) as results, tqdm(total=facts["data"]["pairs"], unit="pair", disable=None) as bar:
        for company in ahead(together(data.samples(split))):
            seen = {sample.names[0]: enlarged(sample) for sample in company}  # what the results are held against
            for method in everyone:
                made: list[tuple[Tensor, Sample]] = []
                for sample in company:
                    pair = sample.names[0]
                    if results.has(method.name, pair) and not over_set:
                        continue
                    try:
                        fused = method.fuse(sample)
                    except InputError as problem:
                        failures.append(f"{method.name}, {pair}: {problem}")
                        continue
                    if method.facts["kind"] in ("rule", "shipped", "checkpoint"):
                        io.write(out / "fused" / method.name / f"{pair}.png", fused[0])
                    if method.facts["kind"] == "folder":
                        found = signs(color.grey_levels(fused), [color.grey_levels(x) for x in seen[pair].sources])
                        doubts += [f"{method.name}, {pair}: {sign}" for sign in found]
                    sample = seen[pair]
                    if over_set:
                        real = sample.sources if sample.reference is None else [sample.reference]
                        over_set[method.name].add(fused, real)
                    made.append((fused, sample))
                new = [(fused, sample) for fused, sample in made if not results.has(method.name, sample.names[0])]
                if protocol:
                    rows = [protocols.scores(fused, sample.sources, protocol, names) for fused, sample in new]
                else:
                    rows = scores_together([f for f, _ in new], [s for _, s in new], names, device) if new else []
                for (_, sample), row in zip(new, rows, strict=True):
                    results.add(method.name, sample.names[0], row)
            bar.update(len(company))
    if not any(method.name in results.rows for method in methods):
        raise InputError("nothing could be judged:\n" + "\n".join(failures))

    fetch = pictures(methods, data, split, out)
    metrics = {name: protocols.card(protocol, name) if protocol else (METRICS | LEARNED)[name] for name in names}
    told = {**facts, "failures": failures, "doubts": doubts}
    if over_set:
        told["distribution"] = {name: meter.values() for name, meter in over_set.items()}
    runs = {method.name: method.facts["recipe"] for method in methods if method.facts.get("recipe")}
    text = report.write(out, results.rows, metrics, {row.name for row in trivial}, told, fetch, runs)
    parts = [text, *(protocols.lacking(protocol) if protocol else [])]
    for name, values in told.get("distribution", {}).items():
        parts.append(f"{name}, all pictures: " + ", ".join(f"{key} {value:.4g}" for key, value in values.items()))
    return "\n".join(parts + (["Look at these before you trust their rows:", *doubts] if doubts else [])), failures


def together(samples: Iterable[Sample]) -> Iterator[list[Sample]]:
    """Consecutive samples of one size and form, as many as fit into one batch."""
    company: list[Sample] = []
    for sample in samples:
        form = [x.shape for x in sample.sources], sample.reference is None
        if company:
            same = form == ([x.shape for x in company[0].sources], company[0].reference is None)
            if not same or len(company) >= AT_ONCE // sample.sources[0][0, 0].numel():
                yield company
                company = []
        company.append(sample)
    if company:
        yield company


def ahead(items: Iterator[Any]) -> Iterator[Any]:
    """The items, the next one being made while the last is in use."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, items, None)
        while (item := waiting.result()) is not None:
            waiting = pool.submit(next, items, None)
            yield item


def about(data: Any, split: str, methods: Sequence[Method]) -> dict[str, Any]:
    """What is judged: the data, their identity and the manifest they are of, if any, and what each method is."""
    of = {"manifest": known} if (known := getattr(data, "manifest", lambda _: None)(split)) else {}
    facts = {"name": data.name, "split": split, "identity": data.identity(split), "pairs": len(data.stems(split))}
    return {
        "data": facts | of,
        "methods": {method.name: dict(method.facts) for method in methods},
    }


def difference(
    methods: Sequence[Method],
    data: Any,
    split: str,
    out: Path,
    first: Protocol,
    second: Protocol,
    names: Sequence[str] | None = None,
) -> tuple[str, list[str]]:
    """Which convention makes which part of the difference between two protocols, into `out`; the tables, what failed.

    Raises:
        InputError: nothing at all could be judged, no column is in both, or `out` holds another explanation.
    """
    if (out / "explain.json").exists():
        raise InputError(f"{out} holds an explanation already; choose another out=, or delete that one")
    paths = {name: explain.steps(first, second, name) for name in explain.shared(first, second, names)}
    rows: dict[str, list[dict[str, list[float]]]] = {method.name: [] for method in methods}
    failures: list[str] = []
    for sample in tqdm(data.samples(split), total=len(data.stems(split)), unit="pair", disable=None):
        for method in methods:
            try:
                rows[method.name].append(explain.values(method.fuse(sample), enlarged(sample).sources, paths))
            except InputError as problem:
                failures.append(f"{method.name}, {sample.names[0]}: {problem}")
    if not any(rows.values()):
        raise InputError("nothing could be judged:\n" + "\n".join(failures))
    accounts = [
        explain.account(method, name, path, [row[name] for row in found])
        for method, found in rows.items()
        for name, path in paths.items()
        if found
    ]
    return explain.write(out, accounts, first, second, about(data, split, methods)), failures


def pictures(
    methods: Sequence[Method], data: Any, split: str, out: Path
) -> Callable[[], Iterable[tuple[str, dict[str, Tensor]]]]:
    """For the report: per pair its pictures by name, `(c, h, w)` as stored: sources by role, reference, methods."""

    def fetch() -> Iterable[tuple[str, dict[str, Tensor]]]:
        for sample in data.samples(split):
            named = dict(zip(sample.roles, (x[0] for x in sample.sources), strict=True))
            if sample.reference is not None:
                named["reference"] = sample.reference[0]
            for method in methods:
                written = out / "fused" / method.name / f"{sample.names[0]}.png"
                try:
                    named[method.name] = io.read(written) if written.exists() else method.fuse(sample)[0]
                except InputError:
                    continue  # listed among the failures
            yield sample.names[0], named

    return fetch
