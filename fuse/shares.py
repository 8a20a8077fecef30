"""A rank's share of a batch, on which everything comes out as if this process had the whole batch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from fuse import ranks
from fuse.data.sample import Sample
from fuse.errors import InputError

Protocol = Callable[[Sample, int, torch.Generator], dict[str, Tensor]]


def share(protocol: Protocol, batch: int) -> Protocol:
    """The protocol on this rank's share of every batch; its terms are means over all ranks.

    Raises:
        InputError: the batch cannot be divided.
    """
    count = ranks.size()
    if count == 1:
        return protocol
    if batch % count:
        nearest = dict.fromkeys((max(count, batch - batch % count), batch - batch % count + count))
        raise InputError(
            f"model.patches.batch={batch} cannot be divided among run.devices={count}; "
            f"set it to {' or '.join(map(str, nearest))}"
        )
    rows, rank = batch // count, dist.get_rank()

    def step(sample: Sample, number: int, generator: torch.Generator) -> dict[str, Tensor]:
        with WholeBatch(rows, rank, count):
            terms = protocol(portion(sample, rank, rows), number, generator)
        values = torch.stack([value.float() for value in terms.values()])
        ranks.average([values])
        return dict(zip(terms, values.unbind(), strict=True))

    return step


def portion(sample: Sample, number: int, rows: int) -> Sample:
    """The portion of that number, from 0, of a batch that is divided into portions of `rows` pictures."""
    mine = slice(number * rows, (number + 1) * rows)
    reference = None if sample.reference is None else sample.reference[mine]
    sources, chroma = (tuple(x[mine] for x in pictures) for pictures in (sample.sources, sample.chroma))
    return sample._replace(sources=sources, reference=reference, chroma=chroma)


class WholeBatch(TorchFunctionMode):
    """Draws, dropout and batch norm as if this process had `count` times its `rows` pictures, of which it is `rank`.

    Drawn numbers (`torch.rand`, `randn`, `randint`) are rows of what one process would draw for the whole batch if
    their first side is the number of pictures or, for sources one after the other along the batch, a multiple of it;
    other draws are the same on all ranks. Statistics of `batch_norm` are those of the whole batch, and gradients flow
    through them between the ranks.
    """

    def __init__(self, rows: int, rank: int, count: int) -> None:
        super().__init__()
        self.rows, self.rank, self.count = rows, rank, count

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Hand everything else through."""
        named = dict(kwargs or {})
        if func in (torch.rand, torch.randn, torch.randint):
            return self.drawn(func, args, named)
        if func is F.dropout:
            return self.dropout(*args, **named)
        if func is F.batch_norm:
            return self.batch_norm(*args, **named)
        return func(*args, **named)

    def drawn(self, func: Callable[..., Tensor], args: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
        """This rank's rows of what is drawn for the whole batch."""
        bounds: tuple[Any, ...] = ()
        if "size" in named:
            bounds, shape = args, named.pop("size")
        elif args and isinstance(args[-1], Sequence):  # bounds first, as randint has them
            bounds, shape = args[:-1], args[-1]
        else:
            shape = args
        if not self.dealt(shape):
            return func(*bounds, size=shape, **named)
        return self.own(func(*bounds, size=self.larger(shape), **named))

    def dropout(self, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        """Dropout with this rank's rows of the mask."""
        if not training or not self.dealt(x.shape):
            return F.dropout(x, p, training, inplace)
        mask = self.own(F.dropout(x.new_ones(self.larger(x.shape)), p))
        return x.mul_(mask) if inplace else x * mask

    def batch_norm(
        self,
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        """(x - mean) / sqrt(var + eps) * weight + bias with mean and variance over the batches of all ranks."""
        if not training:
            return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
        values, sides = x.to(torch.promote_types(x.dtype, torch.float32)), [0, *range(2, x.dim())]
        told = gathered(torch.stack(torch.var_mean(values, sides, correction=0)), self.rank, self.count)
        variances, means = told.unbind(1)
        mean, variance = means.mean(0), variances.mean(0) + means.var(0, correction=0)  # all ranks have as many pixels
        if running_mean is not None and running_var is not None:
            pixels = self.count * x.numel() // x.shape[1]
            running_mean.lerp_(mean.detach(), momentum)
            running_var.lerp_(variance.detach() * pixels / (pixels - 1), momentum)
        scale = (variance + eps).rsqrt() if weight is None else (variance + eps).rsqrt() * weight
        along = (1, -1, *[1] * (x.dim() - 2))
        scaled = (values - mean.view(along)) * scale.view(along)
        return (scaled if bias is None else scaled + bias.view(along)).to(x.dtype)

    def dealt(self, shape: Sequence[int]) -> bool:
        """Whether the first side counts pictures."""
        return len(shape) > 0 and shape[0] > 0 and shape[0] % self.rows == 0

    def larger(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The same for the whole batch."""
        return (shape[0] * self.count, *shape[1:])

    def own(self, whole: Tensor) -> Tensor:
        """This rank's rows: of every source, the pictures of its share."""
        return whole.unflatten(0, (-1, self.count, self.rows))[:, self.rank].flatten(0, 1)


def gathered(x: Tensor, rank: int, count: int) -> Tensor:
    """The tensors of all ranks `(count, ...)`, through which gradients flow back to each, any number of times."""
    slots = [torch.zeros_like(x)] * count
    slots[rank] = x
    found: Tensor = Summed.apply(torch.stack(slots))
    return found


class Summed(torch.autograd.Function):
    """Sum over the ranks; what flows back is the sum of what flows back on each."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """The sum."""
        return ranks.summed(x.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """The sum of gradients, differentiable again."""
        return Summed.apply(gradients[0])
