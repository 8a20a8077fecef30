"""From scores to ranks: means and their intervals, and which metrics may be ranked on at all."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

RESAMPLES = 2000
LEVEL = 0.95
TIE = 1e-12  # relative; resampled means of equal scores differ by rounding and must not be told apart

Array = np.ndarray
Scores = Mapping[str, Mapping[str, np.ndarray]]


class Cell(NamedTuple):
    """Mean and deviation (n - 1 in the denominator; NaN for n < 2) of the n defined values; how many are undefined."""

    mean: float
    deviation: float
    n: int
    undefined: int


class Interval(NamedTuple):
    """A value and its bootstrap 95 % interval over pairs."""

    mean: float
    low: float
    high: float


class Difference(NamedTuple):
    """Method minus best method over the n pairs where both are defined, in the unit of the metric.

    Of |value| where closer to zero is better. `won`: share of those pairs where the method is better, a tie counting
    half. `low`, `high`: bootstrap 95 % interval of the mean difference.
    """

    mean: float
    low: float
    high: float
    won: float
    n: int


class Spread(NamedTuple):
    """Mean over the runs of one method (seeds) of each run's dataset mean, and its deviation (n - 1) over runs."""

    mean: float
    deviation: float
    runs: int


@dataclass(frozen=True)
class Ranking:
    """What a table shows.

    `methods`: best mean rank first, then methods without a rank, then the trivial rows. `metrics`: those ranked on come
    first. `better`: +1 higher, -1 lower, 0 closer to zero, None a statistic without direction. `greyed`: metric -> the
    sentence why it is not ranked on; statistics are in neither `greyed` nor `ranked_on`. `mean_rank`: over the metrics
    of `ranked_on`, 1 is best, ties share their mean; trivial rows have none. `places`: metric -> method -> rank, best
    first, of the methods that have values, judged on the pairs where all of those have one. `best`, `second`: the
    methods that share that place. `differences`: metric -> method -> difference to the first of `places`. `spread`:
    group -> metric, for groups of two runs and more. `resamples` and `seed` are those of the intervals.
    """

    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    trivial: frozenset[str]
    better: dict[str, int | None]
    pairs: int
    cells: dict[str, dict[str, Cell]]
    ranked_on: tuple[str, ...]
    greyed: dict[str, str]
    mean_rank: dict[str, Interval]
    places: dict[str, dict[str, float]]
    best: dict[str, tuple[str, ...]]
    second: dict[str, tuple[str, ...]]
    differences: dict[str, dict[str, Difference]]
    spread: dict[str, dict[str, Spread]]
    resamples: int
    seed: int


def cell(values: Float[Array, " pairs"]) -> Cell:
    """Mean, deviation, n and number of undefined (NaN) values."""
    defined = values[~np.isnan(values)]
    with np.errstate(invalid="ignore"):  # infinite values (PSNR of equal pictures) have no deviation
        mean = float(defined.mean()) if defined.size else float("nan")
        deviation = float(defined.std(ddof=1)) if defined.size > 1 else float("nan")
    return Cell(mean, deviation, defined.size, values.size - defined.size)


def resampled_means(
    counts: Float[Array, "resamples pairs"], values: Float[Array, "rows pairs"]
) -> Float[Array, "resamples rows"]:
    """Mean of each row under each resample, `counts` being how often a pair was drawn; NaN values are left out.

    NaN where no defined value was drawn; infinite values give an infinite mean.
    """
    finite = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = counts @ np.where(finite, values, 0.0).T
        for sign in (np.inf, -np.inf):
            if (values == sign).any():
                total = total + np.where(counts @ (values == sign).T.astype(float) > 0, sign, 0.0)
        return total / (counts @ (~np.isnan(values)).T.astype(float))


def ranks(losses: Float[Array, "*rows methods"]) -> Float[Array, "*rows methods"]:
    """Ranks along the last axis, 1 for the smallest; ties (to a relative 1e-12) share their mean; NaN ranks NaN."""
    one, other = losses[..., :, None], losses[..., None, :]
    with np.errstate(invalid="ignore"):
        margin = TIE * np.minimum(np.abs(one), np.abs(other))
        tied = (one == other) | (np.abs(one - other) <= np.where(np.isfinite(margin), margin, 0.0))
        ahead = (other < one) & ~tied
    place = 1.0 + ahead.sum(-1) + 0.5 * (tied.sum(-1) - 1)
    return np.where(np.isnan(losses), np.nan, place)


def percentiles(samples: Float[Array, "resamples *cells"]) -> tuple[Array, Array]:
    """Ends of the 95 % interval along the first axis, NaN samples left out; not interpolated, for there may be inf."""
    ordered = np.sort(samples, axis=0)  # NaN last
    last = np.maximum((~np.isnan(samples)).sum(0) - 1, 0)
    tail = (1 - LEVEL) / 2
    low = np.take_along_axis(ordered, np.floor(tail * last).astype(int)[None], 0)[0]
    high = np.take_along_axis(ordered, np.ceil((1 - tail) * last).astype(int)[None], 0)[0]
    return low, high


def rank(
    scores: Scores,
    better: Mapping[str, int | None],
    trivial: Iterable[str] = (),
    groups: Mapping[str, str] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Ranking:
    """Ranks methods by their mean rank over the metrics that tell fusion from no fusion.

    `scores`: method -> metric -> one value per pair, in the same order of pairs throughout; NaN is undefined, a missing
    metric is undefined everywhere. Of `better`, those of the scored metrics are used. A metric is greyed, and not
    ranked on, where a trivial row (copy, average, maximum, noise) is beaten by no method, where a method that has other
    values has none of it, or where no pair has a value of every method. `groups`: method -> name of the method whose
    run (seed) it is. The interval resamples pairs, the same for all methods and metrics.

    Raises:
        ValueError: no scores, or rows of unequal length.
    """
    metrics = tuple(dict.fromkeys(metric for row in scores.values() for metric in row))
    lengths = {len(values) for row in scores.values() for values in row.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"every method and metric needs one value per pair; got lengths {sorted(lengths)}")
    pairs = lengths.pop()
    rows = {
        name: {m: np.asarray(row.get(m, np.full(pairs, np.nan)), np.float64) for m in metrics}
        for name, row in scores.items()
    }
    nothing = frozenset(trivial).intersection(rows)
    methods = [name for name in rows if name not in nothing]
    present = [name for name in methods if any(not np.isnan(v).all() for v in rows[name].values())]
    counts = np.random.default_rng(seed).multinomial(pairs, [1 / pairs] * pairs, size=resamples).astype(float)

    ranked_on, greyed, places, best, second, differences = [], {}, {}, {}, {}, {}
    actual, resampled = [], []
    for metric in metrics:
        if better[metric] is None:
            continue
        loss = {name: _loss(rows[name][metric], better[metric]) for name in rows}
        taking = [name for name in present if not np.isnan(loss[name]).all()]
        if not taking:
            if present:
                greyed[metric] = "no method has a value of it here."
            continue
        stack = np.stack([loss[name] for name in taking])
        common = ~np.isnan(stack).any(0)
        reason = _reason(metric, rows, loss, present, taking, common, nothing)
        if reason:
            greyed[metric] = reason
        if not common.any():
            continue
        place = ranks(stack[:, common].mean(1))
        places[metric] = {taking[i]: float(place[i]) for i in np.argsort(place, kind="stable")}
        leader = next(iter(places[metric]))
        best[metric], second[metric] = _podium(taking, place)
        gaps = np.stack([_gap(rows[name][metric], rows[leader][metric], better[metric]) for name in taking])
        differences[metric] = _differences(taking, gaps, loss, leader, counts)
        if not reason:
            ranked_on.append(metric)
            actual.append(place)
            resampled.append(ranks(resampled_means(counts[:, common], stack[:, common])))

    mean_rank = _mean_rank(present, actual, resampled)
    led = sorted(mean_rank, key=lambda name: mean_rank[name].mean)
    return Ranking(
        methods=(*led, *(m for m in methods if m not in mean_rank), *(m for m in rows if m in nothing)),
        metrics=(*ranked_on, *(m for m in metrics if m not in ranked_on)),
        trivial=nothing,
        better={metric: better[metric] for metric in metrics},
        pairs=pairs,
        cells={name: {metric: cell(values) for metric, values in row.items()} for name, row in rows.items()},
        ranked_on=tuple(ranked_on),
        greyed=greyed,
        mean_rank=mean_rank,
        places=places,
        best=best,
        second=second,
        differences=differences,
        spread=_spread(rows, groups or {}),
        resamples=resamples,
        seed=seed,
    )


def _loss(values: Array, better: int | None) -> Array:
    return np.abs(values) if better == 0 else -values if better == 1 else values


def _gap(values: Array, leader: Array, better: int | None) -> Array:
    if better == 0:
        values, leader = np.abs(values), np.abs(leader)
    with np.errstate(invalid="ignore"):
        return np.where(values == leader, 0.0, values - leader)  # two infinite scores are equal, not undefined


def _reason(
    metric: str,
    rows: dict[str, dict[str, Array]],
    loss: dict[str, Array],
    present: list[str],
    taking: list[str],
    common: Array,
    trivial: frozenset[str],
) -> str | None:
    """Why the metric may not be ranked on, or None."""
    absent = [name for name in present if name not in taking]
    if absent:
        return f"undefined on every pair for {_quote(absent)}, so not all methods can be compared on it."
    if not common.any():
        return "no pair has a value of every method, so the methods cannot be compared on it."
    leads = []
    for name in trivial:
        both = common & ~np.isnan(loss[name])
        if both.any():
            means = np.array([loss[name][both].mean(), *(loss[method][both].mean() for method in taking)])
            place = ranks(means)
            if place[0] <= place[1:].min():
                leads.append((means[0], name, taking[int(np.argmin(means[1:]))], both))
    if not leads:
        return None
    _, name, rival, both = min(leads, key=lambda lead: (lead[0], lead[1]))
    ours, theirs = rows[name][metric][both].mean(), rows[rival][metric][both].mean()
    return f"no method beats the trivial row '{name}' ({ours:.4g}; best method: '{rival}', {theirs:.4g})."


def _quote(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _podium(methods: list[str], place: Array) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Methods that share the first place, and those that share the next one if the first is not shared."""
    steps = np.unique(place)
    first = tuple(m for m, p in zip(methods, place, strict=True) if p == steps[0])
    if len(first) > 1 or steps.size < 2:
        return first, ()
    return first, tuple(m for m, p in zip(methods, place, strict=True) if p == steps[1])


def _differences(
    methods: list[str], gaps: Array, loss: dict[str, Array], leader: str, counts: Array
) -> dict[str, Difference]:
    low, high = percentiles(resampled_means(counts, gaps))
    found = {}
    for i, name in enumerate(methods):
        both = ~np.isnan(gaps[i])
        mine, best = loss[name][both], loss[leader][both]
        won = float((mine < best).mean() + 0.5 * (mine == best).mean())
        found[name] = Difference(float(gaps[i][both].mean()), float(low[i]), float(high[i]), won, int(both.sum()))
    return found


def _mean_rank(methods: list[str], places: list[Array], resampled: list[Array]) -> dict[str, Interval]:
    if not places:
        return {}
    samples = np.stack(resampled)  # metrics, resamples, methods
    drawn = ~np.isnan(samples)
    with np.errstate(invalid="ignore"):  # a resample may draw no pair that has a value
        low, high = percentiles(np.where(drawn, samples, 0.0).sum(0) / drawn.sum(0))
    mean = np.stack(places).mean(0)
    return {name: Interval(float(mean[i]), float(low[i]), float(high[i])) for i, name in enumerate(methods)}


def _spread(rows: dict[str, dict[str, Array]], groups: Mapping[str, str]) -> dict[str, dict[str, Spread]]:
    runs: dict[str, list[str]] = {}
    for name, group in groups.items():
        if name in rows:
            runs.setdefault(group, []).append(name)
    found: dict[str, dict[str, Spread]] = {}
    for group, names in runs.items():
        if len(names) > 1:
            found[group] = {}
            for metric in rows[names[0]]:
                over = cell(np.array([cell(rows[name][metric]).mean for name in names]))
                found[group][metric] = Spread(over.mean, over.deviation, over.n)
    return found
