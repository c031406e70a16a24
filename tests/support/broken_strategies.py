"""A strategy that keeps the contract, and others that break it in one way each, with the checks that have to see it."""

from collections.abc import Callable
from itertools import count
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from pydantic import Field, PrivateAttr
from torch.utils._pytree import tree_map

from ssmtl.strategies.base import Look, Need, Strategy
from ssmtl.task import Confident, Loss, PseudoLabels
from ssmtl.views.geometry import STRONG, WEAK, Geometry

LABELED, UNLABELED = Need(), Need(rows="unlabeled", grad=False)
STRONGER = Need(view=STRONG, rows="unlabeled")


class Good(Strategy):
    """Hard labels of the weak view teach the strong one from `threshold` on."""

    requires = (PseudoLabels,)

    threshold: float = 0.8

    def needs(self):
        return frozenset({LABELED, UNLABELED, STRONGER})

    def losses(self, task, step):
        return {"supervised": self.labels(task, step), "consistency": self.consistency(task, step)}

    def labels(self, task, step):
        return task.supervised_loss(step.prediction(LABELED), step.target(WEAK))

    def consistency(self, task, step):
        target = task.pseudo_label(step.prediction(UNLABELED), self.threshold)
        moved = task.warp(target, step.move(WEAK, STRONG, "unlabeled"))
        step.log("kept", Loss(rows(moved.weight), rows(torch.ones_like(moved.weight))))
        step.audit(STRONG, "unlabeled", moved)
        return task.unsupervised_loss(step.prediction(STRONGER), moved)


def rows(weight):
    return weight.flatten(1).sum(1) if weight.ndim > 1 else weight


def scaled(loss, by):
    return Loss(loss.total * by, loss.count, loss.floor)


class Broken(NamedTuple):
    strategy: Callable[[], Strategy]
    fails: set[str]


BROKEN: dict[str, Broken] = {}


def fails(*checks: str) -> Any:
    """Register a strategy with the names, without "check_", of exactly the checks that it fails."""

    def decorate(cls: type[Good]) -> type[Good]:
        cls.__doc__ = cls.__doc__ or "A strategy with a flaw and a `threshold`."
        BROKEN[cls.__name__] = Broken(cls, {f"check_{name}" for name in checks})
        return cls

    return decorate


@fails("pickles")
class Sticky(Good):
    def __reduce_ex__(self, protocol):
        raise TypeError("not me")


@fails("survives_json")
class InSets(Good):
    """Has `words`."""

    words: frozenset[str] = frozenset({"a", "b"})


@fails("hashes", "survives_json")
class InLists(Good):
    """Has `words`."""

    words: list[str] = Field(default=["a"])


@fails("is_found_by_name")
class FixMatch(Good):
    pass


@fails("has_a_docstring")
class Silent(Good):
    pass


Silent.__doc__ = None


@fails("fields_are_documented")
class Terse(Good):
    patience: int = 3


@fails("examples_are_true")
class Boaster(Good):
    """A strategy.

    >>> Boaster().threshold
    0.99
    """


@fails("keeps_no_state")
class Diary(Good):
    _seen: int = PrivateAttr(default=0)


@fails("needs_are_well_formed")
class Thawed(Good):
    def needs(self):
        return {LABELED, UNLABELED, STRONGER}


@fails("teacher_is_only_asked")
class AsksMuch(Good):
    def needs(self):
        return frozenset({LABELED, STRONGER, UNLABELED._replace(model="teacher", grad=True, bn="eval")})

    def consistency(self, task, step):
        weak = step.prediction(UNLABELED._replace(model="teacher", grad=True, bn="eval"))
        moved = task.warp(task.pseudo_label(weak, self.threshold), step.move(WEAK, STRONG, "unlabeled"))
        return task.unsupervised_loss(step.prediction(STRONGER), moved)


@fails("teacher_is_only_asked", "teacher_stays")
class MovesTeacher(Good):
    def needs(self):
        return frozenset({LABELED, STRONGER, UNLABELED._replace(model="teacher")})

    def consistency(self, task, step):
        weak = step.prediction(UNLABELED._replace(model="teacher"))
        moved = task.warp(task.pseudo_label(weak, self.threshold), step.move(WEAK, STRONG, "unlabeled"))
        return task.unsupervised_loss(step.prediction(STRONGER), moved)


@runtime_checkable
class TellsFortunes(Protocol):
    def fortune(self) -> str: ...


@fails("some_task_fits")
class Picky(Good):
    requires = (PseudoLabels, TellsFortunes)


class NotRuntime(Protocol):
    def pseudo_label(self) -> None: ...


@fails("some_task_fits")
class Unmarked(Good):
    requires = (NotRuntime,)


@fails("abilities_suffice")
class Sneaky(Good):
    def consistency(self, task, step):
        sure = task.confidence(step.prediction(UNLABELED))
        return scaled(Good.consistency(self, task, step), sure)


@fails("abilities_are_used")
class Greedy(Good):
    requires = (PseudoLabels, Confident)


@runtime_checkable
class Movable(Protocol):
    def warp(self, target: Any, geometry: Geometry) -> Any: ...


@fails("recipe_refuses_other_tasks")
class Obvious(Good):
    requires = (PseudoLabels, Movable)


@fails("reads_what_it_announces")
class Hoarder(Good):
    def needs(self):
        return Good.needs(self) | {Need(view=STRONG, rows="labeled", grad=False)}


@fails("reads_what_it_announces")
class Blind(Good):
    def looks(self):
        return frozenset({Look(STRONG, "labeled")})


@fails("reads_what_it_announces", "trains", "teacher_stays", "coefficient_zero_is_absence", "bfloat16")
class Thief(Good):
    def labels(self, task, step):
        step.images(STRONG, "labeled")
        return Good.labels(self, task, step)


@fails("terms_are_ratios")
class Columns(Good):
    def labels(self, task, step):
        loss = Good.labels(self, task, step)
        return Loss(loss.total[:, None], loss.count[:, None])


@fails("counts_carry_no_gradient")
class SoftCount(Good):
    def consistency(self, task, step):
        loss = Good.consistency(self, task, step)
        return Loss(loss.total, loss.count + 0 * loss.total)


@fails("names_never_change")
class Fickle(Good):
    def losses(self, task, step):
        terms = Good.losses(self, task, step)
        return terms if len(step.prediction(UNLABELED)) else {"supervised": terms["supervised"]}


@fails("names_are_usable")
class Wordy(Good):
    def losses(self, task, step):
        return {"supervised": self.labels(task, step), "consistency loss": self.consistency(task, step)}


@fails("names_are_usable")
class SameName(Good):
    def consistency(self, task, step):
        loss = Good.consistency(self, task, step)
        step.log("consistency", Loss(loss.total.detach(), loss.count))
        return loss


@fails("names_are_usable", "coefficient_zero_is_absence")
class NothingUnscaled(Good):
    unscaled: ClassVar[frozenset[str]] = frozenset({"labels"})


@fails("every_term_teaches")
class Idle(Good):
    def losses(self, task, step):
        terms = Good.losses(self, task, step)
        return {**terms, "idle": scaled(terms["consistency"], 0.0)}


@fails("every_gradient_is_used")
class Taped(Good):
    def needs(self):
        return frozenset({LABELED, STRONGER, UNLABELED._replace(grad=True)})

    def consistency(self, task, step):
        weak = step.prediction(UNLABELED._replace(grad=True))
        moved = task.warp(task.pseudo_label(weak, self.threshold), step.move(WEAK, STRONG, "unlabeled"))
        return task.unsupervised_loss(step.prediction(STRONGER), moved)


@fails("reports_carry_no_gradient")
class Holding(Good):
    def consistency(self, task, step):
        loss = Good.consistency(self, task, step)
        step.log("loss", loss)
        return loss


TURN = count(1)


@fails(
    "same_step_same_terms",
    "order_is_nothing",
    "targets_move_with_views",
    "threshold_is_one",
    "rows_teach_alone",
    "abilities_suffice",
    "global_random_numbers",
)
class Moody(Good):
    def consistency(self, task, step):
        return scaled(Good.consistency(self, task, step), float(next(TURN)))


@fails("writes_into_nothing")
class Scribbler(Good):
    def consistency(self, task, step):
        step.prediction(UNLABELED).mul_(1.001)
        return Good.consistency(self, task, step)


@fails("labels_teach_alone", "rows_teach_alone")
class Mixed(Good):
    def losses(self, task, step):
        terms = Good.losses(self, task, step)
        share = terms["consistency"].total.detach().mean() if len(terms["consistency"].total) else 0.0
        return {**terms, "supervised": scaled(terms["supervised"], 1 + share)}


@fails("order_is_nothing")
class FirstCounts(Good):
    def consistency(self, task, step):
        loss = Good.consistency(self, task, step)
        return scaled(loss, torch.arange(len(loss.total)))


@fails("order_is_nothing")
class LabelsOfOthers(Good):
    def labels(self, task, step):
        others = tree_map(lambda leaf: leaf.flip(0), step.target(WEAK))
        return task.supervised_loss(step.prediction(LABELED), others)


@fails("rows_teach_alone")
class SurerThanOthers(Good):
    requires = (PseudoLabels, Confident)

    def consistency(self, task, step):
        sure = task.confidence(step.prediction(UNLABELED))
        kept = sure >= sure.sum() / max(1, len(sure))
        loss = Good.consistency(self, task, step)
        return Loss(loss.total * kept, loss.count)


@fails("rows_teach_alone")
class MeanOfTheRows(Good):
    def consistency(self, task, step):
        loss = Good.consistency(self, task, step)
        return scaled(loss, 1 / max(1, len(loss.total)))


@fails("terms_are_ratios")
class CostsUncounted(Good):
    def consistency(self, task, step):
        loss = Good.consistency(self, task, step)
        return Loss(loss.total, torch.zeros_like(loss.count))


@fails("targets_move_with_views")
class StandsStill(Good):
    def consistency(self, task, step):
        target = task.pseudo_label(step.prediction(UNLABELED), self.threshold)
        return task.unsupervised_loss(step.prediction(STRONGER), target)


@fails("targets_move_with_views")
class WrongWay(Good):
    def consistency(self, task, step):
        target = task.pseudo_label(step.prediction(UNLABELED), self.threshold)
        back = task.warp(target, step.move(STRONG, WEAK, "unlabeled"))
        return task.unsupervised_loss(step.prediction(STRONGER), back)
