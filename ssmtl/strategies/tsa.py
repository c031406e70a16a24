"""Training signal annealing (Xie et al. 2019; Nair et al. 2019, Section 3.5): well-known labels stop teaching."""

import math
from typing import Annotated, Any, ClassVar, Literal

from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from ssmtl.component import Component
from ssmtl.task import Mixable


class TSA(Component):
    """Drop labeled rows whose label the model gives a probability of a threshold or more, which rises from 1/k to 1.

    eta(t) = 1/k + (1 - 1/k) a(t) with s = t / T: "linear" a = s; "exp" a = exp(5 (s - 1)), for few labels; "log"
    a = 1 - exp(-5 s). For mixed labels y a row is kept as long as some class c with y_c > 0 has p_c < eta y_c. The loss
    is the mean over the rows that are kept. RealMix takes "linear", and only for 250 labels or fewer.
    """

    group = "parts"
    requires: ClassVar[tuple[type[Any], ...]] = (Mixable,)

    schedule: Literal["linear", "exp", "log"] = Field(default="linear", kw_only=False)
    rule: Literal["scaled_labels", "reference"] = "scaled_labels"
    """What eta multiplies: the labels, or the logits, as RealMix's program does. There, any class that the label leaves
    out keeps the row as soon as its logit is positive, so that the method does next to nothing."""
    steps: Annotated[int, Field(ge=1)] | None = None
    """T; None: the steps of the run. RealMix's program takes 1,048,576 whatever the length, and trains 500,000."""

    def threshold(self, step: int, steps: int, classes: int) -> float:
        """Return eta at a 0-based step, in [1 / classes, 1]."""
        s = min(1.0, step / (self.steps or steps))
        rise = {"linear": s, "exp": math.exp(5.0 * (s - 1.0)), "log": 1.0 - math.exp(-5.0 * s)}[self.schedule]
        return 1.0 / classes + (1.0 - 1.0 / classes) * rise

    def keep(self, scores: Float[Tensor, "n k"], soft: Float[Tensor, "n k"], threshold: float) -> Bool[Tensor, " n"]:
        """Return which rows still train, from their logits and their labels as distributions."""
        probabilities = scores.detach().softmax(dim=1)
        if self.rule == "reference":
            return (probabilities * (soft > 0) < threshold * scores.detach()).any(dim=1)
        return ((soft > 0) & (probabilities < threshold * soft)).any(dim=1)
