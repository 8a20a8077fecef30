"""Where the time of a training step goes: `run.profile=true`.

What the loop does is marked by name (`record_function` in `fuse/log.py`, `fuse/update.py`, `fuse/checkpoint.py`); what
of a step bears no name is the forward pass with its loss.
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

log = logging.getLogger(__name__)
WARM_UP, WATCHED = 10, 20  # steps
STEP, DATA = "fuse.step", "fuse.data"
PARTS = (DATA, "fuse.backward", "fuse.optimiser", "fuse.logging", "fuse.validation", "fuse.checkpoint")
BUSY = 0.6  # share of the time in which a device computes, below which it waits for the processor


def watched(batches: Iterator[Any], out: Path, device: torch.device) -> Iterator[Any]:
    """Hand batches through, watch the steps between them, and write `profile.json` and `profile.txt` into `out`.

    After `WARM_UP` steps the next `WATCHED` are recorded, fewer if the run ends; watching slows these steps down.
    `profile.json` is a trace for chrome://tracing or https://ui.perfetto.dev; the text goes to the log as well.
    """
    for _ in range(WARM_UP):
        batch = next(batches, None)
        if batch is None:
            log.warning("no profile: the run has no more than %d steps to go", WARM_UP)
            return
        yield batch
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    seen = 0
    with profile(activities=activities) as profiler:
        while seen < WATCHED:
            with record_function(STEP):
                with record_function(DATA):
                    batch = next(batches, None)
                if batch is None:
                    break
                yield batch
            seen += 1
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    if not seen:
        log.warning("no profile: the run has no more than %d steps to go", WARM_UP)
        return
    profiler.export_chrome_trace(str(out / "profile.json"))
    events = profiler.key_averages()
    host = {event.key: event.cpu_time_total for event in events if event.key in (STEP, *PARTS)}
    operators = {e.key: e.self_cpu_time_total for e in events if not e.key.startswith(("fuse.", "Optimizer."))}
    kernels = {e.key: e.self_device_time_total for e in events if not e.key.startswith(("fuse.", "Optimizer."))}
    text = summary(seen, host, operators, kernels if device.type == "cuda" else {})
    (out / "profile.txt").write_text(text)
    log.info("%s", text)
    yield from batches


def summary(
    steps: int, parts: Mapping[str, float], operators: Mapping[str, float], kernels: Mapping[str, float]
) -> str:
    """One screen: shares of the parts of a step, the costliest operations, and the bottleneck by name.

    Times in microseconds, sums over the watched steps: `parts` as the processor sees them, with `fuse.step` the whole;
    `operators` without what they call; `kernels` on the device, empty where there is none.
    """
    whole = max(parts.get(STEP, 0.0), 1e-9)
    named = {part.removeprefix("fuse."): parts.get(part, 0.0) / whole for part in PARTS}
    share = {"data": named.pop("data"), "forward": 0.0} | named
    share["forward"] = max(0.0, 1 - sum(share.values()))
    costly = kernels or operators
    top = sorted(costly, key=lambda name: costly[name], reverse=True)[:5]
    busy = sum(kernels.values()) / whole
    most = max(share, key=lambda name: share[name])
    if kernels and busy < BUSY:
        told = f"the processor: the device computes in {busy:.0%} of the time and waits for {most} in the rest"
    elif kernels:
        told = f"the device, busy {busy:.0%} of the time, above all with {top[0]}"
    else:
        told = f"{most}, {share[most]:.0%} of the time" + (f"; costliest operation {top[0]}" if top else "")
    lines = [f"profile of {steps} steps, {whole / 1000 / max(steps, 1):.2f} ms each"]
    lines += [f"  {name:<12} {value:6.1%}" for name, value in share.items()]
    lines += ["costliest operations" + (" on the device" if kernels else "")]
    lines += [f"  {costly[name] / whole:6.1%}  {name[:90]}" for name in top]
    return "\n".join([*lines, f"bottleneck: {told}", ""])
