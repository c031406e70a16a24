"""What flows: a Sample leaves a reader, a Batch enters the training step. Shapes and units are written here once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor
from torch.utils._pytree import tree_map

from ssmtl.task import Annotation, Target


@dataclass(frozen=True)
class Sample:
    """One image on its reader's canvas.

    `annotations` holds, per kind, what a person wrote down: "label" an index into the reader's classes of that kind,
    "mask" a uint8 [H, W] map of such indices with 255 = ignore, "boxes" a `BoxList` on the canvas, and a plugin's own
    kinds what their tasks understand. One of several of a kind has its name behind it: "label:sex". A kind that is
    absent was not annotated; a list of zero boxes says that somebody looked and nothing is there. `size` is the
    (height, width) of the canvas, from its top left corner, that shows the image; outside is padding. `source_size` is
    the (height, width) of the file.
    """

    name: str
    image: UInt8[np.ndarray, "c H W"]
    size: tuple[int, int]
    source_size: tuple[int, int]
    annotations: Mapping[str, Annotation] = field(default_factory=dict)


class Batch:
    """One process's share of the samples of one micro-step; opaque to Fabric, which must not cast what is inside.

    `images` uint8 [b, c, H, W] move to the device, as do `targets` and `audit`; `size` int64 [b, 2] and the masks stay
    on the CPU, because the step is planned there. `targets[t]` has weight 0 in rows that aren't labeled for t;
    `audit[t]` holds the hidden labels of a study, for measuring only. `positions` are places in the global batch.
    """

    def __init__(
        self,
        *,
        images: UInt8[Tensor, "b c H W"],
        size: Int64[Tensor, "b 2"],
        targets: dict[str, Target],
        audit: dict[str, Target],
        served: dict[str, Bool[Tensor, " b"]],
        labeled: dict[str, Bool[Tensor, " b"]],
        sources: Int64[Tensor, " b"],
        positions: Int64[Tensor, " b"],
        names: tuple[str, ...],
    ) -> None:
        self.images = images
        self.size = size
        self.targets = targets
        self.audit = audit
        self.served = served
        self.labeled = labeled
        self.sources = sources
        self.positions = positions
        self.names = names

    def __len__(self) -> int:
        return self.images.shape[0]

    def without_audit(self) -> "Batch":
        """Return the batch as training may see it: the same tensors, and no hidden label."""
        return Batch(**{**vars(self), "audit": {}})

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Move pixels and targets to a device, in place, without changing any dtype."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=non_blocking)

        self.images = move(self.images)
        self.targets, self.audit = tree_map(move, self.targets), tree_map(move, self.audit)
        return self

    def pin_memory(self) -> Self:
        """Pin what `to` will move, so that the copy overlaps with compute."""
        self.images = self.images.pin_memory()
        self.targets = tree_map(Tensor.pin_memory, self.targets)
        self.audit = tree_map(Tensor.pin_memory, self.audit)
        return self
