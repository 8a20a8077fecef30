"""Learning-rate schedules: pure functions `(step, steps) -> factor` of the base rate."""

import math


def constant(step: int, steps: int) -> float:
    """1 throughout."""
    return 1.0


def cosine(step: int, steps: int, warmup: int = 0, floor: float = 0.0) -> float:
    """Linear rise over `warmup` steps, then half a cosine down to `floor`."""
    if step < warmup:
        return (step + 1) / warmup
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def decay(step: int, steps: int, factor: float, every: int) -> float:
    """`factor` to the power of how often `every` steps have passed."""
    return factor ** (step // every)


def linear(step: int, steps: int, hold: float = 0.5) -> float:
    """1 for the share `hold` of the run, then a straight line that reaches 0 when the run is over."""
    return min(1.0, (steps - step) / max(1.0, steps * (1 - hold)))
