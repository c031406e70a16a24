"""Toy tasks that each break one thing, and the checks that should notice: first the one that it is made for."""

from typing import Any, NamedTuple

import torch
from pydantic import PrivateAttr
from torch import nn

from ssmtl.checks.toy_task import CLASSES, ToyLabels, ToyMap
from ssmtl.task import Loss
from ssmtl.views.geometry import Geometry
from ssmtl.views.ops import GEOMETRIC, PHOTOMETRIC

BROKEN: list[tuple[type, set[str], str]] = []


def breaks(first, *others):
    """Note which checks a task fails; they are named without the "check_" that all begin with."""

    def noted(cls):
        if "__doc__" not in cls.__dict__ or cls.__doc__ is None:
            cls.__doc__ = "Its predictions and targets are those of the task that it breaks."
        BROKEN.append((cls, {f"check_{name}" for name in (first, *others)}, f"check_{first}"))
        return cls

    return noted


def scaled(loss: Loss, factor: Any) -> Loss:
    return Loss(loss.total * factor, loss.count)


@breaks("pickles")
class UnpickledAsAnother(ToyLabels):
    def __reduce__(self):
        return ToyLabels, (self.name,)


@breaks("survives_json")
class HoldsASet(ToyLabels):
    """Predictions and targets are the toy's; `note` is no plain value."""

    note: Any = frozenset({1})


@breaks("hashes")
class HashesByPlace(ToyLabels):
    def __hash__(self):
        return id(self)


@breaks("repr_names_it")
class Nameless(ToyLabels):
    def __repr__(self):
        return "a task"


@breaks("stores_only_arguments")
class Remembers(ToyLabels):
    _seen: list[int] = PrivateAttr(default_factory=list)


@breaks("is_found_by_name")
class Segmentation(ToyLabels):
    pass


@breaks("declarations_make_sense")
class Misspelled(ToyLabels):
    invariant_to: tuple[str, ...] = (*PHOTOMETRIC, *GEOMETRIC, "HorizontalFlop")


@breaks("classes_have_names")
class TwiceTheSameClass(ToyLabels):
    @property
    def classes(self):
        return ("dark", "Dark", "bright")


@breaks("fake_batch_is_what_was_asked_for")
class AlwaysInColor(ToyLabels):
    def fake_batch(self, n, seed, *, channels=3, size=(32, 32)):
        return super().fake_batch(n, seed, channels=3, size=size)


@breaks("fake_batch_is_deterministic")
class IgnoresTheSeed(ToyLabels):
    def fake_batch(self, n, seed, *, channels=3, size=(32, 32)):
        return super().fake_batch(n, 0, channels=channels, size=size)


@breaks("collate_stacks_rows")
class OtherTypeWithoutRows(ToyLabels):
    def collate(self, targets, size):
        found = super().collate(targets, size)
        return found if len(targets) else found._replace(weight=found.weight.double())


class Wrapped(nn.Module):
    def __init__(self, head, change):
        super().__init__()
        self.head, self.change = head, change

    def forward(self, features, size, extra):
        return self.change(self.head(features, size, extra), size)


@breaks("missing_maps_are_of_the_canvas")
class MissingMapsLieOnTheirSide(ToyMap):
    def collate(self, targets, size):
        return super().collate(targets, size if any(targets) else size[::-1])


@breaks("head_predicts_rows")
class OnlySquare(ToyLabels):
    def build_head(self, features):
        barred = torch.tensor([-torch.inf, 0, 0])
        return Wrapped(super().build_head(features), lambda pred, size: pred if size[0] == size[1] else pred + barred)


@breaks("head_predicts_rows")
class PredictsInDouble(ToyLabels):
    def build_head(self, features):
        return Wrapped(super().build_head(features), lambda pred, _: pred.double())


@breaks("no_rows_are_fine")
class NeedsARow(ToyLabels):
    def pseudo_label(self, pred, threshold):
        assert pred.max() > -torch.inf
        return super().pseudo_label(pred, threshold)


@breaks("loss_has_a_part_per_row", "pseudo_labels_are_targets", "higher_thresholds_keep_less")
class CountsWithGradient(ToyLabels):
    def supervised_loss(self, pred, target):
        loss = super().supervised_loss(pred, target)
        return Loss(loss.total, loss.count + 0 * pred.sum())


@breaks("gradient_reaches_the_head")
class UnusedLayer(ToyLabels):
    def build_head(self, features):
        head = super().build_head(features)
        head.unused = nn.Linear(2, 2)
        return head


@breaks("inputs_are_not_written")
class WritesIntoPredictions(ToyLabels):
    def supervised_loss(self, pred, target):
        pred.data.add_(1.0)
        return super().supervised_loss(pred, target)


@breaks("a_small_network_learns_it")
class ClimbsUp(ToyLabels):
    def supervised_loss(self, pred, target):
        loss = super().supervised_loss(pred, target)
        return Loss(2 * loss.total.detach() - loss.total, loss.count)


@breaks("what_is_right_costs_least")
class UnsureOnPurpose(ToyLabels):
    def as_prediction(self, target):
        return 0.06 * super().as_prediction(target)


@breaks("missing_labels_cost_nothing")
class PunishesMissing(ToyLabels):
    def supervised_loss(self, pred, target):
        loss = super().supervised_loss(pred, target)
        return Loss(loss.total + 0.1 * float((target.weight == 0).all()) * pred.square().sum(dim=1), loss.count)


@breaks("missing_labels_change_nothing")
class MeanOfTheLabeled(ToyLabels):
    def supervised_loss(self, pred, target):
        return scaled(super().supervised_loss(pred, target), len(pred) / target.weight.sum().clamp(min=1))


@breaks("weights_lie_between_0_and_1")
class WeighsDouble(ToyLabels):
    def collate(self, targets, size):
        found = super().collate(targets, size)
        return found._replace(weight=2 * found.weight)


@breaks("ignored_pixels_change_nothing")
class ForgetsWhatIsErased(ToyMap):
    def warp(self, target, geometry):
        return super().warp(target, Geometry(geometry.matrix, geometry.size, geometry.valid))


@breaks("only_ignored_pixels_cost_nothing", "missing_labels_cost_nothing")
class CountsAtLeastOne(ToyMap):
    def supervised_loss(self, pred, target):
        loss = super().supervised_loss(pred, target)
        return Loss(loss.total, loss.count.clamp(min=1))


@breaks("head_rows_are_independent")
class CentersTheBatch(ToyLabels):
    def build_head(self, features):
        return Wrapped(super().build_head(features), lambda pred, _: pred - pred.mean(dim=0, keepdim=True))


@breaks("loss_rows_are_independent")
class MeanOverTheBatch(ToyLabels):
    def supervised_loss(self, pred, target):
        return scaled(super().supervised_loss(pred, target), 1 / max(1, len(pred)))


@breaks("unsupervised_rows_are_independent")
class UnsupervisedMean(ToyLabels):
    def unsupervised_loss(self, pred, target):
        return scaled(super().unsupervised_loss(pred, target), 1 / max(1, len(pred)))


@breaks("pseudo_label_rows_are_independent")
class RelativeThreshold(ToyLabels):
    def pseudo_label(self, pred, threshold):
        surest = self.confidence(pred).max() if len(pred) else 1.0
        return super().pseudo_label(pred, threshold * surest)


@breaks("pseudo_labels_are_detached", "summary_has_known_names")
class AttachedWeights(ToyLabels):
    def pseudo_label(self, pred, threshold):
        found = super().pseudo_label(pred, threshold)
        return found._replace(weight=found.weight + 0 * pred.sum(dim=1))


class OtherTarget(NamedTuple):
    labels: torch.Tensor
    weight: torch.Tensor


@breaks("pseudo_labels_are_targets")
class OtherPseudoLabels(ToyLabels):
    def pseudo_label(self, pred, threshold):
        return OtherTarget(*super().pseudo_label(pred, threshold))


@breaks("higher_thresholds_keep_less")
class IgnoresTheThreshold(ToyLabels):
    def pseudo_label(self, pred, threshold):
        return super().pseudo_label(pred, 0.0)


@breaks("unsupervised_loss_has_a_part_per_row", "untrusted_pseudo_labels_teach_nothing")
class DividesByTrust(ToyLabels):
    def unsupervised_loss(self, pred, target):
        return scaled(super().unsupervised_loss(pred, target), 1 / target.weight)


@breaks("untrusted_pseudo_labels_teach_nothing")
class TrustsAll(ToyLabels):
    def unsupervised_loss(self, pred, target):
        return super().unsupervised_loss(pred, target._replace(weight=torch.ones_like(target.weight)))


@breaks("untrusted_pseudo_labels_teach_nothing")
class CountsTheTrusted(ToyMap):
    def unsupervised_loss(self, pred, target):
        return Loss(super().unsupervised_loss(pred, target).total, super().supervised_loss(pred, target).count)


@breaks("ignored_pixels_stay_ignored")
class CountsEveryPixel(ToyMap):
    def unsupervised_loss(self, pred, target):
        loss = super().unsupervised_loss(pred, target)
        return Loss(loss.total, torch.full_like(loss.count, pred[0, 0].numel() if len(pred) else 0))


@breaks("pseudo_labels_say_what_was_predicted")
class OffByOne(ToyLabels):
    def pseudo_label(self, pred, threshold):
        found = super().pseudo_label(pred, threshold)
        return found._replace(labels=(found.labels + 1) % len(CLASSES))


@breaks("confidence_is_a_probability")
class PercentOfConfidence(ToyLabels):
    def confidence(self, pred):
        return 100 * super().confidence(pred)


@breaks("confidence_is_a_probability")
class SurestIsSure(ToyLabels):
    def confidence(self, pred):
        sure = super().confidence(pred)
        return sure / sure.max()


@breaks("summary_has_known_names")
class OwnWords(ToyLabels):
    def summarize(self, weak, target):
        return {"share": super().summarize(weak, target)["coverage"]}


@breaks("distributions_are_distances")
class NeverAtHome(ToyLabels):
    def kl(self, pred, other):
        loss = super().kl(pred, other)
        return Loss(loss.total + 0.1, loss.count)


@breaks("mixable_labels_are_probabilities")
class TwoHot(ToyLabels):
    def one_hot(self, target):
        return 2 * super().one_hot(target)


@breaks("soft_losses_are_least_at_the_label")
class WantsTheWrong(ToyLabels):
    def soft_loss(self, pred, soft):
        return scaled(super().soft_loss(pred, soft), -1.0)


@breaks("audit_of_the_truth_is_perfect")
class NeverSatisfied(ToyLabels):
    def audit(self, target, hidden):
        return {"precision": scaled(super().audit(target, hidden)["precision"], 0.0)}


@breaks("audit_of_the_truth_is_perfect")
class AuditsTheUntrusted(ToyLabels):
    def audit(self, target, hidden):
        return super().audit(target._replace(weight=torch.ones_like(target.weight)), hidden)


@breaks("supervised_loss_teaches", "what_is_right_costs_least", "a_small_network_learns_it")
class OneChannelSoftmax(ToyLabels):
    def supervised_loss(self, pred, target):
        certain = pred[:, :1].softmax(dim=1)[:, 0]
        return scaled(Loss(target.weight * certain, (target.weight > 0).float()), 1.0)


@breaks("unsupervised_loss_teaches")
class NothingFromPseudoLabels(ToyLabels):
    def unsupervised_loss(self, pred, target):
        return scaled(super().unsupervised_loss(pred, target), 0.0)


@breaks("distribution_losses_teach")
class ConstantEntropy(ToyLabels):
    def entropy(self, pred):
        return scaled(super().entropy(pred), 0.0)


@breaks("soft_losses_teach")
class DetachedSoftLoss(ToyLabels):
    def soft_loss(self, pred, soft):
        loss = super().soft_loss(pred, soft)
        return Loss(loss.total.detach() + 0 * pred.sum(dim=1), loss.count)


@breaks("some_divergence_teaches")
class OnlyTheReference(ToyLabels):
    def divergence(self, labeled, unlabeled, *, form, detach_target):
        return super().divergence(labeled, unlabeled, form="reference", detach_target=detach_target)
