"""What tasks declare decides what may happen to an image: policies are derived from it, or refused."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Protocol, runtime_checkable

from ssmtl.component import kinds
from ssmtl.errors import RecipeError
from ssmtl.views.ops import FRAMES
from ssmtl.views.policy import Policy
from ssmtl.views.transform import Transform, Warp

SHIFTS = ("TranslateX", "TranslateY")


@runtime_checkable
class Symmetric(Protocol):
    """What is asked of a task here."""

    @property
    def name(self) -> str: ...
    @property
    def invariant_to(self) -> tuple[str, ...]: ...
    @property
    def equivariant_to(self) -> tuple[str, ...]: ...


def allowed(
    policy: Policy, view: str, tasks: Sequence[Symmetric], channels: int, where: str, aligned: Collection[str] = ()
) -> Policy:
    """Return a policy with nothing in it but what every task declares and `channels` allow.

    Tasks named in `aligned` want both views to show the same place: what moves their target has to follow the weak
    view. What isn't allowed is left out where the policy is to be derived; a crop that doesn't follow the weak view's
    then does. Raises RecipeError, naming `where`, the task, the transform and the fix, for what is undeclared, or is
    described by no matrix, in another policy, and for a derived pool that is empty.
    """
    rules = _Rules(view, tasks, channels, where, aligned)
    reasons = {op: rules.reason(op) for op in policy.transforms()}
    if not policy.derive:
        for reason in reasons.values():
            if reason is not None:
                raise RecipeError(reason)
        return policy
    always = [_followed(op) if rules.only_moves(op) else op for op in policy.always]
    always = [op for op in always if rules.reason(op) is None]
    pool = tuple(op for op in policy.pool if reasons[op] is None)
    if policy.pool and not pool:
        named = " and ".join(f"'{task.name}'" for task in tasks)
        raise RecipeError(
            f"{where} have no strong transform left: {named} declare none of the pool in common; name what leaves "
            "their targets alone in `invariant_to`, or give the recipe other views."
        )
    num_ops = min(policy.num_ops, len(pool)) if policy.distinct else policy.num_ops
    return policy.replace(always=tuple(always), pool=pool, num_ops=num_ops)


def check_follow(weak: Policy, strong: Policy) -> None:
    """Raise RecipeError for a strong view that follows what the weak one doesn't do, or a weak one that overlaps."""
    leads = {op.names: op for op in weak.always if isinstance(op, Warp)}
    for lead in leads.values():
        if lead.follow == "overlapping":
            raise RecipeError(f"{lead.title} of the weak view overlaps itself; set follow='same', which others do.")
    for op in (op for op in strong.always if isinstance(op, Warp) and op.follow != "any"):
        if leads.get(op.names) != op.replace(follow="same"):
            raise RecipeError(
                f"{op.title} of the strong view follows that of the weak view, which has none, or another one: give "
                "both the same, the weak one with follow='same'."
            )


def check_aligned(weak: Policy, strong: Policy, tasks: Sequence[Symmetric], aligned: Collection[str]) -> None:
    """Raise RecipeError for a transform that moves the weak view only, where a task wants both at the same place."""
    for op in (op for op in weak.always if isinstance(op, Warp)):
        moved = [t.name for t in tasks if t.name in aligned and not {*op.names} <= {*t.invariant_to}]
        if moved and op not in strong.always:
            raise RecipeError(
                f"{op.title} moves the weak view only, but the strategy of the task '{moved[0]}' compares views that "
                "show the same place; put it into the strong view too, with follow='same' in both."
            )


def check_names(task: Symmetric, used: Iterable[str]) -> None:
    """Raise RecipeError for a declared name that is almost, but not, a transform's, or that is declared twice.

    `used` are the names that policies need, some of which may be those of augmentations of one's own.
    """
    known = {*kinds("transforms"), *used}
    for name in (*task.invariant_to, *task.equivariant_to):
        hint = get_close_matches(name, sorted(known), n=1, cutoff=0.8)
        if name not in known and hint:
            raise RecipeError(
                f"the task '{task.name}' declares '{name}', which is no transform; did you mean '{hint[0]}'?"
            )
    for name in sorted({*task.invariant_to} & {*task.equivariant_to}):
        raise RecipeError(
            f"the task '{task.name}' declares {name} in invariant_to and in equivariant_to; a target stays as it "
            "is, or moves with the image: name it in one."
        )


@dataclass(frozen=True)
class _Rules:
    """What is asked of the transforms of one view."""

    view: str
    tasks: Sequence[Symmetric]
    channels: int
    where: str
    aligned: Collection[str]

    def reason(self, op: Transform) -> str | None:
        """Return why a transform is not allowed, as a sentence, or None."""
        if op.color and self.channels != 3:
            return (
                f"{self.where} use {op.names[0]}, which needs 3 channels, but the images have {self.channels}; take it "
                "out of the policy, or read color images."
            )
        return next((reason for task in self.tasks if (reason := self._undeclared(op, task)) is not None), None)

    def _undeclared(self, op: Transform, task: Symmetric) -> str | None:
        if isinstance(op, Warp) and op.elastic:
            return (
                f"{self.where} use {op.names[0]}, which no matrix describes, so the targets of the task '{task.name}' "
                "can't move with it; use Rotate, ShearX or Perspective instead."
            )
        known = {*task.invariant_to, *task.equivariant_to}
        for name in op.names:
            if name not in known:
                return (
                    f"{self.where} use {name}, which the task '{task.name}' declares neither in invariant_to nor in "
                    "equivariant_to; take it out of the policy, or add it to one of the two if the target really "
                    "stays the same, or moves with the image."
                )
        if self.view != "weak" and _shifts(op) and not {*SHIFTS} <= known:
            return (
                f"{self.where} use {op.names[0]} with follow='any' or 'overlapping', which shifts them against the "
                f"weak view, but the task '{task.name}' declares no TranslateX and TranslateY; set follow='same', or "
                "declare them if the target moves with the image."
            )
        if task.name in self.aligned and _parts(op) and not {*op.names} <= {*task.invariant_to}:
            return (
                f"{self.where} use {op.names[0]} without follow='same', but the strategy of the task '{task.name}' "
                "compares views that show the same place; set follow='same' in both views, or use a strategy that "
                "moves targets, such as DenseFixMatch."
            )
        return None

    def only_moves(self, op: Transform) -> bool:
        """Tell whether a crop would be allowed if it followed the weak view's."""
        if self.view == "weak" or not _shifts(op) or self.reason(op) is None:
            return False
        return self.reason(_followed(op)) is None


def _parts(op: Transform) -> bool:
    """Tell whether a transform is drawn for one view alone, so that views part."""
    return isinstance(op, Warp) and op.follow != "same"


def _shifts(op: Transform) -> bool:
    """Tell whether a transform shows another part of the image than the weak view does."""
    return isinstance(op, Warp) and (op.frames or not {*FRAMES}.isdisjoint(op.names)) and op.follow != "same"


def _followed(op: Transform) -> Transform:
    return op.replace(follow="same")
