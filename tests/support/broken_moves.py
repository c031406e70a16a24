"""More toy tasks that each break one thing: how targets and predictions move with the image."""

import torch
from broken_tasks import breaks

from ssmtl.checks.toy_task import SoftToyTarget, ToyLabels, ToyMap
from ssmtl.views.geometry import Geometry, inverse
from ssmtl.views.ops import PHOTOMETRIC


@breaks("identity_moves_nothing")
class WearsOut(ToyLabels):
    invariant_to: tuple[str, ...] = PHOTOMETRIC

    def warp(self, target, geometry):
        return target._replace(weight=0.5 * target.weight)


@breaks("equivariant_targets_move", "other_rows_are_refused")
class SaysItMoves(ToyLabels):
    invariant_to: tuple[str, ...] = PHOTOMETRIC
    equivariant_to: tuple[str, ...] = ("HorizontalFlip",)


@breaks("moved_targets_come_back", "loss_moves_with_the_image", "two_moves_are_one")
class MapsEdgesNotCenters(ToyMap):
    def warp(self, target, geometry):
        matrix = geometry.matrix.clone()
        matrix[~geometry.is_identity, 0, 2] += 1
        return super().warp(target, Geometry(matrix, geometry.size, geometry.valid, geometry.erased))


@breaks("two_moves_are_one")
class MovesByTheInverse(ToyMap):
    def warp(self, target, geometry):
        back = inverse(geometry.matrix)
        return super().warp(target, Geometry(back, geometry.size, geometry.valid, geometry.erased))


@breaks("equivariant_targets_move")
class ForgetsPerspective(ToyMap):
    def warp(self, target, geometry):
        flat = geometry.matrix.clone()
        flat[:, 2] = torch.tensor([0, 0, 1])
        return super().warp(target, Geometry(flat, geometry.size, geometry.valid, geometry.erased))


@breaks("invariant_targets_stay")
class DoubtsWhatMoved(ToyLabels):
    def warp(self, target, geometry):
        moved = (~geometry.is_identity).float()
        return target._replace(weight=target.weight * (1 - 0.5 * moved))


@breaks("invariant_targets_have_no_place")
class InvariantButCroppable(ToyLabels):
    def crop(self, pred, size):
        return pred


@breaks("loss_moves_with_the_image")
class CaresForTheLeft(ToyMap):
    def supervised_loss(self, pred, target):
        slope = torch.linspace(2, 0.1, target.weight.shape[-1])
        return super().supervised_loss(pred, target._replace(weight=target.weight * slope))


@breaks("soft_targets_move_like_targets")
class FadingSoftTargets(ToyLabels):
    def warp_soft(self, target, geometry):
        return SoftToyTarget(0.9 * target.probabilities, target.weight)


@breaks("soft_targets_move_like_targets")
class SoftByTheInverse(ToyMap):
    def warp_soft(self, target, geometry):
        back = inverse(geometry.matrix)
        return super().warp_soft(target, Geometry(back, geometry.size, geometry.valid, geometry.erased))
