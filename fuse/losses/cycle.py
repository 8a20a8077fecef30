"""Terms that ask whether the sources can be seen in the fused picture: a frozen network makes them from it again."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from fuse.data.sample import Sample
from fuse.losses.distance import apart
from fuse.losses.gradient import spatial


def sensed(fused: Float[Tensor, "b c h w"], sample: Sample, role: str, sensor: Callable[[Tensor], Tensor]) -> Tensor:
    """mean |A F - I| + mean |G A F - G I|, A the sensor that sees as the source I does, G `gradient.spatial`. EMMA 1.

    `sensor`: `fuse.losses.networks.Sensor`. EMMA's second term, that the fuser gives back what it made, turned, from
    its turned sources, needs the fuser, which no term has.
    """
    seen, source = sensor(fused), sample.role(role)
    return apart(seen, source, "l1").mean() + apart(spatial(seen), spatial(source), "l1").mean()
