"""What a frozen network (a detector, a segmenter) makes of the fused picture, against what it makes of the sources.

No boxes or labels are needed: of every place, the source that the network answers most to is the aim. `network` is
`TorchvisionDetector` or `Exported`, built in the recipe; without any weights at hand, `intensity.by_saliency` is the
prior that needs none.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fuse import checkpoint
from fuse.data.sample import Sample
from fuse.errors import InputError
from fuse.losses.networks import cached, stored
from fuse.losses.terms import sum_over

log = logging.getLogger(__name__)

Picture = Float[Tensor, "b c h w"]
Response = Callable[[Tensor], Mapping[str, Tensor]]
DETECTORS = ("fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_resnet50_fpn")


def kept(fused: Picture, sample: Sample, network: Response) -> Tensor:
    """sum_l mean |N_l(F) - max_i N_l(I_i)|: what the network sees in any source it sees in the result.

    The place of the detection loss of TarDAL (whose detector is trained with it) and of SeAFusion's segmentation loss,
    with a network that stays as it is. The aim has no gradient.
    """
    with torch.no_grad():
        seen = [network(source) for source in sample.sources]
        wanted = {name: torch.stack([maps[name] for maps in seen]).amax(0) for name in seen[0]}
    return sum_over(F.l1_loss(maps, wanted[name]) for name, maps in network(fused).items())


class TorchvisionDetector:
    """Objectness (0..1, the likeliest anchor) that the region proposals of a Faster R-CNN of torchvision give a place.

    `weights`: a file of its state, such as torchvision's; None takes torchvision's COCO weights from the local torch
    hub cache. Levels are `level0` (finest), `level1` ...; pictures go in at their own size, with the mean and deviation
    of the detector, after `span` is brought to [0, 1]; grey ones as RGB.
    """

    def __init__(
        self,
        network: str = DETECTORS[0],
        weights: str | None = None,
        span: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        """
        Raises:
            InputError: an unknown detector, weights that are not there or do not fit.
        """
        from torchvision.models import detection

        if network not in DETECTORS:
            raise InputError(f"network={network}: choose {', '.join(DETECTORS)}")
        whole = getattr(detection, network)(weights=None, weights_backbone=None)
        known = cached(network, "COCO_V1") if weights is None else stored(Path(weights))
        try:
            whole.load_state_dict(known)
        except RuntimeError as problem:
            raise InputError(f"these are no weights of {network}: {checkpoint.first_line(problem)}") from problem
        self.parts = nn.ModuleList([whole.backbone, whole.rpn.head]).eval().requires_grad_(False)
        self.mean, self.deviation = whole.transform.image_mean, whole.transform.image_std
        self.span = span
        log.info("loss through %s, %s", network, weights or "COCO weights")

    def __call__(self, picture: Tensor) -> dict[str, Tensor]:
        """Maps `(b, 1, y, x)` of the levels."""
        self.parts.to(picture)
        mean, deviation = (picture.new_tensor(values).view(3, 1, 1) for values in (self.mean, self.deviation))
        x = (picture.expand(-1, 3, -1, -1) - self.span[0]) / (self.span[1] - self.span[0])
        backbone, head = self.parts
        objectness, _ = head(list(backbone((x - mean) / deviation).values()))
        return {f"level{n}": maps.sigmoid().amax(1, keepdim=True) for n, maps in enumerate(objectness)}


class Exported:
    """Any network saved by `torch.export.save`, from RGB pictures `(b, 3, h, w)` in [0, 1] to one tensor, frozen.

    Such as the probabilities of a segmenter; called `response`. Export it with batch, height and width dynamic.
    """

    def __init__(self, path: str, span: tuple[float, float] = (0.0, 1.0)) -> None:
        """
        Raises:
            InputError: no such file, or not one of torch.export.save.
        """
        try:
            self.network = torch.export.load(path).module().requires_grad_(False)
        except Exception as problem:  # torch gives no common type for what is no export
            raise InputError(
                f"{path} is no network of torch.export.save: {checkpoint.first_line(problem)}"
            ) from problem
        self.span = span
        log.info("loss through %s", path)

    def __call__(self, picture: Tensor) -> dict[str, Tensor]:
        """What the network makes of the picture."""
        low, width = self.span[0], self.span[1] - self.span[0]
        return {"response": self.network.to(picture)((picture.expand(-1, 3, -1, -1) - low) / width)}
