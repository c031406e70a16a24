"""Policies and draws in words: what may happen to an image, and what did."""

from collections.abc import Callable, Mapping
from functools import singledispatch
from types import MappingProxyType
from typing import Any

from ssmtl.views.erasing import Cutout
from ssmtl.views.framing import RandomResizedCrop, ReflectCrop, ScaleCrop
from ssmtl.views.kornia_warp import Kornia
from ssmtl.views.policy import LEVELS, Draw, Policy
from ssmtl.views.transform import Graded, Transform
from ssmtl.views.warps import Perspective, Rot90

Numbers = list[float]

AMOUNTS: Mapping[str, Callable[[float], str]] = MappingProxyType(
    {
        "bits": lambda value: f"{value:.0f} bits",
        "degrees": lambda value: f"{value:+.0f}°",
        "factor": lambda value: f"{value:.2f}x",
        "fraction": lambda value: f"{100 * value:+.0f} %",
        "level": lambda value: f"{value:.0f}",
        "turns": lambda value: f"{value:+.2f} turns",
    }
)
"""How one number is written, by the first word of its unit; others have two digits, and a sign where it means one."""


def policy_words(policy: Policy) -> str:
    """Return what a policy may do, as a sentence without its end: constructors with what isn't left at its default."""
    always = ", ".join(constructor(op) for op in policy.always)
    if not policy.pool:
        return always or "nothing"
    choice = "the same for the whole batch" if policy.scope == "batch" else "for each image"
    distinct = ", never twice the same" if policy.distinct and policy.num_ops > 1 else ""
    gate = f", each with probability {policy.probability:g}" if policy.probability < 1 else ""
    low, high = policy.levels or (0, LEVELS)
    graded = f", at levels {low} to {high} of {LEVELS}" if policy.levels else ", anywhere in their ranges"
    pool = ", ".join(constructor(op) for op in policy.pool)
    some = f"{policy.num_ops} of {len(policy.pool)} ops {choice}{distinct}{gate}{graded}: {pool}"
    return f"{always}; and {some}" if always else some


def constructor(op: Transform) -> str:
    """Return the call that makes a transform, without what is left at its default; ranges and `p` < 1 always."""
    if isinstance(op, Kornia):
        own: dict[str, Any] = {"p": op.p} if op.p < 1 else {}
        own |= {"follow": op.follow} if op.follow != "any" else {}
        return f"{op.augmentation}({_arguments({**dict(op.arguments), **own})})"
    shown = {"low", "high"} if isinstance(op, Graded) else set()
    fields = {
        name: getattr(op, name)
        for name, field in type(op).model_fields.items()
        if name != "p" and (name in shown or getattr(op, name) != field.default)
    }
    if op.p < 1:
        fields["p"] = op.p
    positional = [f"{fields.pop(name):g}" for name in ("low", "high") if name in fields]
    given = ", ".join((*positional, *((_arguments(fields),) if fields else ())))
    return f"{op.kind}({given})" if given else op.kind


def draw_words(draw: Draw, row: int) -> str:
    """Return what was drawn for one row, in that order: "HorizontalFlip, Rotate -21°", say, or "nothing"."""
    found = []
    for applied in draw.record:
        for place, values in zip(applied.rows.tolist(), applied.values.tolist(), strict=True):
            if place == row:
                found.append(amount(applied.op, values))
    return ", ".join(found) or "nothing"


@singledispatch
def amount(op: Transform, values: Numbers) -> str:
    """Return a transform's name and its drawn parameters, as far as they say something to a person."""
    if isinstance(op, Kornia):
        return op.augmentation
    if not isinstance(op, Graded):
        return op.kind
    word = op.unit.replace(",", " ").split()[0] if op.unit else ""
    plain = "{:+.2f}" if op.signed else "{:.2f}"
    return f"{op.kind} {AMOUNTS.get(word, plain.format)(values[0])}"


@amount.register
def _(op: Rot90, values: Numbers) -> str:
    return f"{op.kind} {90 * values[0]:+.0f}°"


@amount.register
def _(op: Perspective, values: Numbers) -> str:
    return f"{op.kind} up to {max(values):.0f} px"


@amount.register
def _(op: ReflectCrop, values: Numbers) -> str:
    return f"{op.kind} by ({values[0]:+.0f}, {values[1]:+.0f}) px"


@amount.register
def _(op: ScaleCrop, values: Numbers) -> str:
    return f"{op.kind} {values[0]:.2f}x at ({values[1]:.0f}, {values[2]:.0f}) px"


@amount.register
def _(op: RandomResizedCrop, values: Numbers) -> str:
    left, top, width, height = values
    return f"{op.kind} of {width:.0f} x {height:.0f} at ({left:.0f}, {top:.0f}) px"


@amount.register
def _(op: Cutout, values: Numbers) -> str:
    return f"{op.kind} of {values[2]:.0f} x {values[3]:.0f} px"


def _arguments(fields: Mapping[str, object]) -> str:
    shown = {name: f"{value:.4g}" if isinstance(value, float) else repr(value) for name, value in fields.items()}
    return ", ".join(f"{name}={value}" for name, value in shown.items())
