"""OODMask (Nair et al. 2019, Section 3.4): the least confident unlabeled rows of a batch teach nothing."""

from typing import Annotated, Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from ssmtl.component import Component
from ssmtl.task import Confident


class OODMask(Component):
    """Drop the share `gamma` of unlabeled rows that the model is least sure of: those out of distribution, it is hoped.

    Rows are ranked within one process's batch, so the threshold moves from step to step. Exactly floor(gamma * n) rows
    go; of equally sure ones those that come first. What is left is divided by its own number. The paper takes 0, 0.2,
    0.4, 0.6 and 0.85 where 0, 25, 50, 75 and 100 % of the unlabeled classes are foreign (Section 4.2.2, untuned).
    """

    group = "parts"
    requires: ClassVar[tuple[type[Any], ...]] = (Confident,)

    gamma: Annotated[float, Field(ge=0, le=1)] = Field(kw_only=False)
    """Share of rows that is dropped."""
    confidence: Literal["mixed", "guess"] = "mixed"
    """What MixMatch and RealMix rank: the predictions on the mixed images, as the authors' program does, or the guessed
    labels before they are sharpened and mixed. Other methods rank the prediction that their target is made of."""
    ref_strict: bool = False
    """Keep only what is above the confidence at rank floor(gamma * n), as the authors' program does: one row more goes,
    and so do its ties."""

    def keep(self, confidence: Float[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """Return which rows are kept, from their confidence in [0, 1]; without waiting for the device."""
        keep, n = torch.ones_like(confidence, dtype=torch.bool), len(confidence)
        # 0.29 * 100 is a hair below 29 in binary
        dropped = min(n, int(self.gamma * n + 1e-9))
        if not n or not self.gamma:
            return keep
        ranked, order = confidence.detach().sort(stable=True)
        if self.ref_strict:
            return confidence.detach() > ranked[min(dropped, n - 1)]
        return keep.index_fill_(0, order[:dropped], False)
