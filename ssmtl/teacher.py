"""The teacher: an exponential moving average of the student."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from ssmtl.component import Component


class Teacher(Component):
    """theta' <- d theta' + (1 - d) theta after every optimizer step, starting as a copy of the student.

    `buffers` says what happens to floating-point buffers such as running statistics: copied from the student or
    averaged like weights; integer buffers are always copied. `warmup` uses d = min(decay, 1 - 1 / (t + 1)).
    """

    decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    buffers: Literal["copy", "ema"] = "copy"
    warmup: bool = False

    @torch.no_grad()
    def update(self, teacher: nn.Module, student: nn.Module, step: int) -> None:
        """Move the teacher's weights toward the student's, in place; `step` is 0-based."""
        decay = min(self.decay, 1.0 - 1.0 / (step + 1)) if self.warmup else self.decay
        weights, targets = [p.data for p in teacher.parameters()], [p.data for p in student.parameters()]
        torch._foreach_lerp_(weights, targets, 1.0 - decay)
        for ours, theirs in zip(teacher.buffers(), student.buffers(), strict=True):
            if self.buffers == "ema" and ours.is_floating_point():
                ours.lerp_(theirs, 1.0 - decay)
            else:
                ours.copy_(theirs)
