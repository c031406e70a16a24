"""More toy tasks that each break one thing: metrics, answers, how they are run, what they refuse and what they say."""

import numpy as np
import torch
from broken_tasks import Wrapped, breaks
from torch import nn
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from ssmtl.checks.toy_task import CLASSES, ToyLabels, ToyMap, ToyMetrics, ToyTarget
from ssmtl.task import IGNORE_INDEX, Loss, Output, Record


@breaks("headline_is_a_metric")
class SlashInAName(ToyLabels):
    def metrics(self):
        metrics = ToyMetrics()
        metrics.add_metrics({"share/right": MulticlassAccuracy(len(CLASSES), ignore_index=IGNORE_INDEX)})
        return metrics


class Custom(MetricCollection):
    def __init__(self, metric):
        super().__init__({"accuracy": metric}, compute_groups=False)


def right(pred: torch.Tensor, target: ToyTarget) -> torch.Tensor:
    known = target.weight > 0
    return (pred.argmax(dim=1) == target.labels)[known].float()


class Share(Metric):
    """Sums of what is right, and of how many; `best` is what a perfect prediction gets."""

    full_state_update = False

    def __init__(self, *, wrong=False):
        super().__init__()
        self.wrong = wrong
        self.add_state("hits", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("rows", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, pred, target):
        hits = right(pred, target)
        self.hits += hits.sum()
        self.rows += len(hits)

    def compute(self):
        share = self.hits / self.rows.clamp(min=1)
        return 1 - share if self.wrong else share


@breaks("what_is_right_scores_best")
class LowerIsBetter(ToyLabels):
    def metrics(self):
        return Custom(Share(wrong=True))


class MeanOfBatches(Share):
    def update(self, pred, target):
        hits = right(pred, target)
        if len(hits):
            self.hits += hits.mean() ** 2
            self.rows += 1


@breaks("metrics_add_up", "metrics_of_processes_add_up")
class BatchByBatch(ToyLabels):
    def metrics(self):
        return Custom(MeanOfBatches())


class Stubborn(Share):
    def __init__(self):
        super().__init__()
        self.all: list[torch.Tensor] = []

    def update(self, pred, target):
        self.all.append(right(pred, target))

    def compute(self):
        hits = torch.cat(self.all)
        return hits.mean() if len(hits) else torch.tensor(0.0)


class MeanOfProcesses(Share):
    def __init__(self):
        super().__init__()
        self.add_state("rows", torch.tensor(0.0), dist_reduce_fx="mean")


@breaks("metrics_of_processes_add_up")
class ProcessByProcess(ToyLabels):
    def metrics(self):
        return Custom(MeanOfProcesses())


@breaks("metrics_reset", "metrics_of_processes_add_up")
class NeverForgets(ToyLabels):
    def metrics(self):
        return Custom(Stubborn())


class AllRows(Share):
    def update(self, pred, target):
        super().update(pred, target._replace(weight=torch.ones_like(target.weight)))


@breaks("metrics_leave_out_what_is_not_labeled")
class ScoresTheMissing(ToyLabels):
    def metrics(self):
        return Custom(AllRows())


@breaks("records_have_columns")
class AnothersColumn(ToyLabels):
    def record(self, answer):
        return Record({"level": answer})


@breaks("records_have_maps_of_the_image")
class WideMaps(ToyMap):
    def record(self, answer):
        return Record({}, {"": answer.astype(np.int64)})


@breaks("records_have_coco_objects")
class NumpyScores(ToyLabels):
    def record(self, answer):
        return Record({self.name: answer}, objects=({"category": answer, "score": np.float32(1)},))


@breaks("answers_are_of_their_row")
class AnswersBackwards(ToyLabels):
    def decode(self, pred, sizes):
        return super().decode(pred, sizes)[::-1]


@breaks("crop_of_everything_changes_nothing", "crop_shows_the_top_left")
class CropsAMirror(ToyMap):
    def crop(self, pred, size):
        return super().crop(pred, size).flip(-1)


@breaks("crop_shows_the_top_left")
class CropsTheBottomRight(ToyMap):
    def crop(self, pred, size):
        return pred[..., -size[0] :, -size[1] :]


@breaks("crop_shows_the_top_left")
class DecodesAMirror(ToyMap):
    def decode(self, pred, sizes):
        return [answer[:, ::-1] for answer in super().decode(pred, sizes)]


@breaks("exported_outputs_are_of_their_row")
class ExportsSharesOfTheBatch(ToyLabels):
    def exported(self, pred):
        return {"share": Output(pred.softmax(dim=0), "share of the batch")}

    def reading(self):
        return ""


@breaks("pictures_leave_the_image_alone")
class PaintsOverTheImage(ToyLabels):
    def draw(self, image, target, pred, colors=None):
        image[:, 0, 0] = 255 - image[:, 0, 0]
        return image.clone()


@breaks("pictures_leave_the_image_alone")
class PaintsOverTheTarget(ToyLabels):
    def draw(self, image, target, pred, colors=None):
        target.weight.zero_()
        return image.clone()


@breaks("memory_layout_does_not_matter")
class NeedsContiguous(ToyLabels):
    def supervised_loss(self, pred, target):
        return super().supervised_loss(pred.view(-1).view(pred.shape), target)


@breaks("autocast_stays_finite")
class LossInHalf(ToyLabels):
    def supervised_loss(self, pred, target):
        loss = super().supervised_loss(pred, target)
        return Loss(loss.total.to(pred.dtype), loss.count)


@breaks("double_precision_agrees")
class SurprisedByDouble(ToyLabels):
    def supervised_loss(self, pred, target):
        loss = super().supervised_loss(pred, target)
        return Loss(loss.total + float(pred.dtype == torch.float64), loss.count)


class Unregistered(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.head, self.offset = head, torch.randn(len(CLASSES))

    def forward(self, features, size, extra):
        return self.head(features, size, extra) + self.offset


@breaks("checkpoint_brings_the_head_back")
class ForgetsAnOffset(ToyLabels):
    def build_head(self, features):
        return Unregistered(super().build_head(features))


@breaks("global_randomness_is_untouched")
class RollsDice(ToyLabels):
    def supervised_loss(self, pred, target):
        torch.rand(1)
        return super().supervised_loss(pred, target)


@breaks("survives_compilation")
class OtherwiseCompiled(ToyLabels):
    def supervised_loss(self, pred, target):
        loss = super().supervised_loss(pred, target)
        return Loss(loss.total + float(torch.compiler.is_compiling()), loss.count)


@breaks("devices_agree")
class OtherwiseOnADevice(ToyLabels):
    def build_head(self, features):
        return Wrapped(super().build_head(features), lambda pred, _: pred + float(pred.is_cuda))


@breaks("a_wrong_annotation_is_refused")
class TakesText(ToyLabels):
    def target(self, annotation, classes):
        if isinstance(annotation, np.ndarray):
            return ToyTarget(torch.tensor(0), torch.tensor(1.0))
        return super().target(annotation, classes)


@breaks("an_unknown_class_is_refused")
class TakesStrangers(ToyLabels):
    def target(self, annotation, classes):
        return super().target(annotation, classes if set(classes) & set(CLASSES) else CLASSES)


@breaks("classes_are_matched_by_name")
class TakesTheReadersIndex(ToyLabels):
    def target(self, annotation, classes):
        found = super().target(annotation, classes)
        return found._replace(labels=torch.tensor(annotation))


@breaks("classes_are_matched_by_name")
class EmptiesTheAnnotation(ToyMap):
    def target(self, annotation, classes):
        found = super().target(annotation, classes)
        annotation.fill(0)
        return found


@breaks("an_index_out_of_range_is_refused")
class TakesTheLast(ToyLabels):
    def target(self, annotation, classes):
        return super().target(min(annotation, len(classes) - 1) if isinstance(annotation, int) else annotation, classes)


@breaks("other_rows_are_refused")
class MovesAllAlike(ToyMap):
    def warp(self, target, geometry):
        rows = len(target.labels)
        return super().warp(target, geometry if len(geometry) != 1 else geometry.rows(torch.zeros(rows).long()))


@breaks("has_a_docstring")
class SaysLittle(ToyLabels):
    """A task."""


@breaks("fields_are_documented")
class SilentField(ToyLabels):
    strength: float = 1.0


@breaks("examples_are_true")
class FalseExample(ToyLabels):
    """Predictions and targets are the toy's.

    >>> 1 + 1
    3
    """
