"""What surrounds one optimiser step: precision, clipping, non-finite losses, the running average, the device."""

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import record_function

from fuse import ranks
from fuse.errors import InputError


class Autocast(nn.Module):
    """A network run in bfloat16 whose results come out in float32, so that losses never see less."""

    def __init__(self, network: nn.Module, device_type: str) -> None:
        super().__init__()
        self.network, self.device_type = network, device_type
        self.selects = getattr(network, "selects", False)  # what protocols ask a fuser

    def forward(self, *inputs: Tensor) -> Any:
        with torch.autocast(self.device_type, torch.bfloat16):
            made = self.network(*inputs)
        if isinstance(made, tuple):
            return made[0].float(), {name: value.float() for name, value in made[1].items()}
        return made.float()


class Update:
    """One optimiser step of one network: backward, clip, and never on a loss that is not a number.

    Of several processes that train together, all take the step that the mean of their gradients makes.
    The check stays on the device: after the first bad loss the optimisers are told to leave all weights as they are,
    and the loop finds out when it next reads the terms. `norms` are the gradient norms of the last updates.

    Where memory does not suffice for a batch (`fuse.parts`), gradients are means over `parts` runs of the protocol,
    each on its part: of all calls since `begin`, only the one after those `made` counts, until `step` makes it.
    """

    def __init__(
        self, optimisers: Mapping[str, torch.optim.Optimizer], clip: float | None, device: torch.device
    ) -> None:
        self.optimisers, self.clip = optimisers, clip
        self.bad = torch.zeros((), device=device)
        self.norms: dict[str, Tensor] = {}
        self.parts, self.made, self.called = 1, 0, 0
        self.gathered: list[tuple[str, Tensor]] = []  # of the parts so far
        self.moving = False  # an optimiser is at work; if it fails then, weights may be half changed

    def __call__(self, name: str, loss: Tensor) -> None:
        self.called += 1
        if self.called != self.made + 1:
            return
        if not self.gathered:
            self.optimisers[name].zero_grad(set_to_none=True)
        with record_function("fuse.backward"):
            (loss if self.parts == 1 else loss / self.parts).backward()
        self.gathered.append((name, loss.detach()))
        if self.parts == 1:
            self.step()

    def begin(self, part: int) -> None:
        """The protocol begins with that part, from 0, of a batch of which `made` updates are made."""
        self.called = 0
        del self.gathered[part:]

    def step(self) -> None:
        """Make the update whose gradients all parts have gathered."""
        name, losses = self.gathered[0][0], [loss for _, loss in self.gathered]
        with record_function("fuse.optimiser"):
            self._step(name, self.optimisers[name], losses[0] if len(losses) == 1 else torch.stack(losses).mean())
        self.gathered.clear()
        self.made += 1

    def _step(self, name: str, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
        parameters = [p for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
        loss = loss.detach().clone()
        ranks.average([*(p.grad for p in parameters if p.grad is not None), loss])
        norm = nn.utils.get_total_norm([p.grad for p in parameters])
        if self.clip is not None:
            nn.utils.clip_grads_with_norm_(parameters, self.clip, norm)
        self.norms[f"gradient_norm_{name}"] = norm.detach()
        self.bad = torch.maximum(self.bad, (~(torch.isfinite(loss) & torch.isfinite(norm))).float())
        if optimiser.param_groups[0].get("fused"):
            vars(optimiser)["found_inf"] = self.bad  # the switch that gradient scalers use
        elif self.bad:  # optimisers without the switch cost a wait for the device
            return
        self.moving = True
        optimiser.step()
        self.moving = False


def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move an average towards a network: average <- decay * average + (1 - decay) * network; buffers are copied."""
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
        for mine, theirs in zip(average.buffers(), network.buffers(), strict=True):
            mine.copy_(theirs)


def pick(name: str) -> torch.device:
    """The device of that name; `auto` takes the GPU if there is one.

    Raises:
        InputError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError) as problem:
        raise InputError(f"device '{name}' cannot be used here: {str(problem).splitlines()[0]}; try auto") from problem


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """While it lasts, Ctrl-C and SIGTERM only set a mark, which the function handed out reads."""
    caught: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            signal.signal(number, lambda received, _: caught.append(received))
        yield lambda: bool(caught)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
