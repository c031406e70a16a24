"""RealMix (Nair et al. 2019): MixMatch for unlabeled images that may come from elsewhere."""

from typing import final

from pydantic import Field

from ssmtl.strategies.mixmatch import Mixing
from ssmtl.strategies.ood_mask import OODMask


@final
class RealMix(Mixing):
    """MixMatch that masks what may be foreign, with two more parts that a recipe adds where the paper has them.

    `ood_mask` drops the unlabeled rows with the least confident predictions; `tsa`, for 250 labels or fewer, drops
    labeled rows that are known well; the reader `Extend` around the unlabeled source makes 50 augmented copies of each
    image. Together, for 250 labels where half of the unlabeled classes are foreign:
    `Source("elsewhere", Extend(reader), serves=("object",), hide_labels=True)` and
    `Objective(task, RealMix(ood_mask=OODMask(0.4), tsa=TSA("linear")), lam=75, ramp=LinearRamp(1.0, over=16_384))`.

    With nothing masked and nothing annealed, the default, the terms are those of MixMatch.
    """

    ood_mask: OODMask = Field(default=OODMask(0.0))
    """Which unlabeled rows teach: all, unless it drops a share; how many are foreign is logged all the same."""
