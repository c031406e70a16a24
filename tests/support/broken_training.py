"""More strategies that break the contract in one way each: thresholds, randomness, and how they train."""

import numpy as np
import torch
from broken_strategies import STRONGER, UNLABELED, Good, fails, scaled

from ssmtl.views.geometry import STRONG, WEAK


@fails("threshold_is_one")
class Deaf(Good):
    def consistency(self, task, step):
        moved = task.pseudo_label(step.prediction(UNLABELED), 0.5)
        moved = task.warp(moved, step.move(WEAK, STRONG, "unlabeled"))
        return task.unsupervised_loss(step.prediction(STRONGER), moved)


@fails("threshold_is_one")
class Inverted(Good):
    def consistency(self, task, step):
        moved = task.pseudo_label(step.prediction(UNLABELED), 1.0 - self.threshold)
        moved = task.warp(moved, step.move(WEAK, STRONG, "unlabeled"))
        return task.unsupervised_loss(step.prediction(STRONGER), moved)


@fails("global_random_numbers")
class Reseeds(Good):
    def consistency(self, task, step):
        np.random.seed(3)  # noqa: NPY002
        return Good.consistency(self, task, step)


@fails("never_waits")
class Impatient(Good):
    def consistency(self, task, step):
        loss = Good.consistency(self, task, step)
        return scaled(loss, 1.0) if loss.total.sum() > 1 else loss


@fails("trains", "coefficient_zero_is_absence", "bfloat16")
class Collapses(Good):
    def consistency(self, task, step):
        return scaled(Good.consistency(self, task, step), float("inf") if step.number == 5 else 1.0)


@fails("writes_into_nothing")
class OwnTrainer(Good):
    def consistency(self, task, step):
        loss = Good.consistency(self, task, step)
        loss.total.sum().backward(retain_graph=True)
        return loss


@fails("bfloat16")
class Narrow(Good):
    def consistency(self, task, step):
        if step.prediction(STRONGER).dtype == torch.bfloat16:
            raise ValueError("float32 please")
        return Good.consistency(self, task, step)
