"""Any geometric augmentation of Kornia that has a matrix, also a user's own subclass, as a transform.

Only its parameters and its matrix are asked for, on the CPU; pixels and targets move with everything else, in one
resampling. Each row is drawn alone, from a seed of its own, because most of what Kornia draws for a batch depends on
the batch's size.
"""

import copy
import inspect
from functools import cache, cached_property
from typing import Annotated, Any, ClassVar, final

import kornia.augmentation as K  # noqa: N812 - the name that its documentation gives it
import numpy as np
import torch
from kornia.constants import Resample
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor

from ssmtl.errors import RecipeError, nearest
from ssmtl.views.kornia_classes import arguments_of, find, name_of, pairs_of
from ssmtl.views.kornia_trials import follows, image_of, matrix_of, probe_size, same, sealed, trial
from ssmtl.views.transform import Drawn, Matrices, Real, Size, Uniform, Values, Warp, eye

RESIZING = (K.RandomCrop, K.CenterCrop, K.RandomResizedCrop, K.Resize, K.PadTo)
FAILURES = (AssertionError, LookupError, RuntimeError, TypeError, ValueError)
"""What augmentations raise for arguments and sizes that they can't take."""
TRIALS = 4


@final
class Kornia(Warp):
    """A geometric augmentation: a class of `kornia.augmentation`, or "package.module:Class" of one's own, by name.

    Its own arguments are passed by name, `Kornia("RandomAffine", degrees=(-30, 30), scale=(0.8, 1.2))`. `p` is 1 unless
    given; `of` brings that of the object. Every image draws on its own, and anywhere in the range: a policy's levels
    don't reach Kornia's. Images are always sampled bilinearly, and what comes in from outside is black, or mirrored
    where a crop pads with "reflect".

    A class outside of Kornia is found once its module has been imported, or under its name in the entry-point group
    `ssmtl.kornia`; reading a recipe imports nothing else. One that isn't found can be read and compared, not drawn.

    Raises `pydantic.ValidationError` for unknown names, for what isn't geometric and for arguments it refuses.
    """

    unit: ClassVar[str] = "seed"
    numbers: ClassVar[int] = 2

    augmentation: Annotated[str, Field(kw_only=False)]
    arguments: Annotated[tuple[tuple[str, Any], ...], BeforeValidator(pairs_of)] = ()

    def __init__(self, *args: Any, **fields: Any) -> None:
        named = {name: value for name, value in fields.items() if name not in {"kind", *type(self).model_fields}}
        if named:
            fields = {name: value for name, value in fields.items() if name not in named}
            fields["arguments"] = (*dict(fields.get("arguments", ())).items(), *named.items())
        super().__init__(*args, **fields)

    @model_validator(mode="after")
    def _can_be_built(self) -> "Kornia":
        op = self._op()
        if op is not None:
            op.refuse_moods()
            op.refuse_outside()
        return self

    @classmethod
    def of(cls, value: Any) -> "Kornia":
        """Return the transform for an augmentation, or for a class that needs no arguments, with its own `p`.

        Arguments are read back from the object, and checked: an augmentation built from them must draw the same.
        Raises RecipeError where that fails, and for what isn't a geometric augmentation.
        """
        kind = value if isinstance(value, type) else type(value)
        name = name_of(kind)
        if isinstance(value, type):
            value = _called(kind, ())
        p = value.p * value.p_batch
        given = inspect.signature(kind).parameters
        if ("same_on_batch" in given and value.same_on_batch) or ("p_batch" in given and value.p_batch != 1):
            raise RecipeError(
                f"{kind.__name__} was made with same_on_batch=True or with p_batch, so that what an image shows would "
                "depend on its batch; leave them out."
            )
        try:
            arguments = pairs_of(arguments_of(value))
            rebuilt = _build(kind, arguments, repr(arguments))
            rebuilt.refuse_moods()
            original = copy.deepcopy(value).cpu()
            original.p = original.p_batch = 1.0
            equal = all(same(trial(original, seed), trial(rebuilt.op, seed)) for seed in range(TRIALS))
        except FAILURES as error:
            raise RecipeError(_unreadable(name, f": {error}")) from error
        if not equal:
            raise RecipeError(_unreadable(name, ""))
        rebuilt.refuse_outside()
        return cls(name, arguments=arguments, p=p)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of what it may do, ours where we have one; none where its class isn't found."""
        op = self._op()
        return () if op is None else op.names

    @property
    def elastic(self) -> bool:  # type: ignore[override]  # of a class's arguments here, not of the class
        """Whether its matrix, if it has one, doesn't describe what it does to pixels."""
        op = self._op()
        return op is not None and op.elastic

    @property
    def frames(self) -> bool:  # type: ignore[override]
        """Whether it crops or resizes."""
        op = self._op()
        return op is not None and op.resizes

    @property
    def title(self) -> str:
        """Return the augmentation's name."""
        return self.augmentation

    @property
    def searches(self) -> bool:  # type: ignore[override]
        """Whether it cuts, which takes images that fill their canvas."""
        return self.frames

    @property
    def mirrors(self) -> bool:  # type: ignore[override]
        """Whether it pads by reflection."""
        op = self._op()
        return op is not None and op.resizes and op.padding == "reflect"

    def draw(self, uniform: Uniform, size: Size, real: Real) -> Drawn:
        """Return a seed per row, a whole number below 2**53, from the number that a policy's levels leave alone.

        Raises RecipeError for a crop of an image that fills only a part of its canvas, which Kornia can't find.
        """
        if self.frames and bool((real != np.array(size)).any()):
            raise RecipeError(
                f"{self.augmentation} cuts anywhere out of the canvas of {size} (height, width), but some images fill "
                "only a part of it; use ScaleCrop or RandomResizedCrop, which find the image."
            )
        return np.floor(uniform[:, 1:2] * 2.0**53)

    def matrix(self, values: Values, size: Size) -> Matrices:
        """Return Kornia's matrix for each row's seed; raises RecipeError where none describes the augmentation."""
        op = self._found()
        if op.elastic:
            raise RecipeError(
                f"{self.augmentation} moves pixels in a way that no matrix describes, so masks and boxes can't follow; "
                "use Rotate, ShearX or Perspective instead."
            )
        with sealed() as sow:
            matrices = []
            for seed in values[:, 0].long().tolist():
                sow(seed)
                matrices.append(op.matrix(size))
        return torch.cat([eye(0), *matrices])

    def view_size(self, size: Size) -> Size:
        """Return the (height, width) it leaves; raises RecipeError where it can't be applied to images of `size`."""
        op = self._op()
        if op is None or not op.resizes:
            return size
        left = op.view_size(size)
        if self.p < 1 and left != size:
            raise RecipeError(
                f"{self.augmentation} makes {left} (height, width) of images of {size}, so all images must have it; "
                f"set p=1 instead of p={self.p:g}."
            )
        return left

    def _op(self) -> "_Op | None":
        kind = find(self.augmentation)
        return None if kind is None else _build(kind, self.arguments, repr(self.arguments))

    def _found(self) -> "_Op":
        op = self._op()
        if op is None:
            module = self.augmentation.partition(":")[0]
            raise RecipeError(
                f"{self.augmentation} can't be drawn because its module '{module}' has not been imported, or lacks "
                "it; import it in the recipe file, or register the class in the entry-point group 'ssmtl.kornia'."
            )
        return op


@final
class _Op:
    """An augmentation that is always applied, and what is found out about it once."""

    def __init__(self, op: Any) -> None:
        self.op = op

    @property
    def padding(self) -> str:
        flags = self.op.flags
        mode = flags.get("padding_mode", flags.get("pad_mode", "zeros"))
        return str(getattr(mode, "name", mode)).lower()

    @cached_property
    def resizes(self) -> bool:
        size = probe_size(self.op)
        return isinstance(self.op, RESIZING) or self.view_size(size) != size

    @cached_property
    def elastic(self) -> bool:
        if not hasattr(self.op, "generate_transformation_matrix"):
            return True
        smooth = copy.deepcopy(self.op)
        plain = {"resample": Resample.BILINEAR, "antialias": False}
        smooth.flags = {**smooth.flags, **{name: value for name, value in plain.items() if name in smooth.flags}}
        try:
            return not all(follows(*trial(smooth, seed)) for seed in range(TRIALS))
        except FAILURES as error:
            raise RecipeError(
                f"{type(self.op).__name__} fails on a test image of 3 channels: {error}; correct it, or leave it out."
            ) from error

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What a task must have declared: what is drawn, the class's own name where that isn't all, and any mirror."""
        kind = type(self.op)
        if self.elastic:
            return (kind.__name__,)
        with sealed() as sow:
            sow(0)
            drawn = self.op.forward_parameters((32, 3, *probe_size(self.op)))
            matrices = torch.cat([self.matrix(probe_size(self.op)) for _ in range(32)])
        names = _names(self.op, drawn)
        if names is None or (not kind.__module__.startswith("kornia.") and _own_map(kind)):
            names = (*(names or ()), kind.__name__)
        mirrored = bool((torch.linalg.det(matrices) < 0).any())
        return names if not mirrored or {"HorizontalFlip", "VerticalFlip"} & {*names} else (*names, "HorizontalFlip")

    def matrix(self, size: Size) -> Matrices:
        return matrix_of(self.op, self.op.forward_parameters((1, 3, *size)), size)

    def view_size(self, size: Size) -> Size:
        try:
            with sealed() as sow:
                sow(0)
                view = image_of(self.op, torch.zeros(1, 3, *size, dtype=torch.float64))
        except FAILURES as error:
            raise RecipeError(
                f"{type(self.op).__name__} can't be applied to images of {size} (height, width): {error}; change its "
                "arguments, or the size of the images before it."
            ) from error
        return size if view is None else (view.shape[-2], view.shape[-1])

    def refuse_moods(self) -> None:
        """Raise RecipeError for a class of one's own that draws other numbers from the same seed."""
        if not type(self.op).__module__.startswith("kornia.") and not self.steady:
            raise RecipeError(
                f"{type(self.op).__name__} draws other numbers from the same seed, so that no run could be repeated; "
                "draw with torch's default generator only, and keep no state."
            )

    @cached_property
    def steady(self) -> bool:
        return all(same(trial(self.op, seed), trial(self.op, seed)) for seed in range(TRIALS))

    def refuse_outside(self) -> None:
        """Raise RecipeError for padding that no view shows."""
        filled = [self.op.flags.get(name) for name in ("fill", "fill_value", "pad_value")]
        if any(value is not None and bool(np.any(np.asarray(value) != 0)) for value in filled):
            shown = "a fill other than 0"
        elif self.padding in ("zeros", "constant") or (self.padding == "reflect" and isinstance(self.op, RESIZING)):
            return
        else:
            shown = f"padding by '{self.padding}'"
        raise RecipeError(
            f"{type(self.op).__name__} has {shown}, but what comes in from outside of the image is black in every "
            "view; leave it out, or pad RandomCrop with 'reflect'."
        )


def _names(op: Any, drawn: dict[str, Tensor]) -> tuple[str, ...] | None:
    """Return the names of our transforms that an augmentation's drawn parameters amount to, None for an unknown one."""
    match op:
        case K.RandomHorizontalFlip():
            return ("HorizontalFlip",)
        case K.RandomVerticalFlip():
            return ("VerticalFlip",)
        case K.RandomRotation():
            return ("Rotate",)
        case K.RandomRotation90():
            return ("Rot90",)
        case K.RandomPerspective():
            return ("Perspective",)
        case K.RandomResizedCrop():
            return ("RandomResizedCrop",)
        case K.RandomAffine() | K.RandomShear() | K.RandomTranslate():
            return _parts(drawn)
    return ("ScaleCrop",) if isinstance(op, RESIZING) else None


def _parts(drawn: dict[str, Tensor]) -> tuple[str, ...]:
    none = torch.zeros(1)
    shift = drawn.get("translations", torch.zeros(1, 2))
    parts = {
        "Rotate": drawn.get("angle", none),
        "TranslateX": drawn.get("translate_x", shift[:, 0]),
        "TranslateY": drawn.get("translate_y", shift[:, 1]),
        "ShearX": drawn.get("shear_x", none),
        "ShearY": drawn.get("shear_y", none),
        "ScaleCrop": drawn.get("scale", none + 1) - 1,
    }
    return tuple(name for name, values in parts.items() if bool((values != 0).any()))


def _own_map(kind: type) -> bool:
    """Tell whether a subclass outside of Kornia draws or maps in its own way."""
    methods = ("compute_transformation", "generate_transformation_matrix", "generate_parameters", "forward_parameters")
    return any(not getattr(kind, name).__module__.startswith("kornia.") for name in methods)


@cache
def _build(kind: type, arguments: tuple[tuple[str, Any], ...], _text: str) -> _Op:
    """Return the augmentation, always applied; `_text` tells 1 from 1.0 and True, which compare equal."""
    op = _called(kind, arguments)
    op.p = op.p_batch = 1.0
    return _Op(op)


def _called(kind: type, arguments: tuple[tuple[str, Any], ...]) -> Any:
    """Return an augmentation; raises RecipeError with its own words for arguments that it refuses."""
    accepted = inspect.signature(kind).parameters
    given = ", ".join(f"{name}={value!r}" for name, value in arguments)
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values()):
        for name, _ in arguments:
            if name not in accepted:
                raise RecipeError(f"{kind.__name__} has no argument '{name}'{nearest(name, accepted)}")
    tensors = {name for name, parameter in accepted.items() if parameter.annotation is Tensor}
    values = {name: torch.tensor(value) if name in tensors else value for name, value in arguments}
    try:
        return kind(**values)
    except FAILURES as error:
        raise RecipeError(f"{kind.__name__}({given}) is refused by it: {error}") from error


def _unreadable(name: str, reason: str) -> str:
    return (
        f"the arguments of this {name} can't be read back from the object{reason}; write "
        f'Kornia("{name}", argument=...) with those that it was made with instead.'
    )
