"""Any geometric augmentation of Kornia that has a matrix, also a user's own subclass, as a transform.

Only its parameters and its matrix are asked for, on the CPU; pixels and targets move with everything else, in one
resampling. Each row is drawn alone, from a seed of its own, because most of what Kornia draws for a batch depends on
the batch's size.
"""

import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from typing import Annotated, Any, ClassVar, final

import kornia.augmentation as K  # noqa: N812 - the name that its documentation gives it
import numpy as np
import torch
from kornia.constants import Resample
from kornia.geometry.transform import warp_perspective
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor

from ssmtl.errors import RecipeError, nearest
from ssmtl.views.kornia_classes import arguments_of, find, name_of, pairs_of
from ssmtl.views.transform import Drawn, Matrices, Real, Size, Uniform, Values, Warp, eye

RESIZING = (K.RandomCrop, K.CenterCrop, K.RandomResizedCrop, K.Resize, K.PadTo)
FAILURES = (AssertionError, LookupError, RuntimeError, TypeError, ValueError)
"""What augmentations raise for arguments and sizes that they can't take."""
TRIALS = 4
TOLERANCE = 1e-3
"""Largest difference, of levels between 0 and 1 of a smooth image, between an augmentation and a warp by its matrix."""


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
            original = copy.deepcopy(value).cpu()
            original.p = original.p_batch = 1.0
            same = all(_same(_trial(original, seed), _trial(rebuilt.op, seed)) for seed in range(TRIALS))
        except FAILURES as error:
            raise RecipeError(_unreadable(name, f": {error}")) from error
        if not same:
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
    def mirrors(self) -> bool:  # type: ignore[override]
        """Whether it pads by reflection."""
        op = self._op()
        return op is not None and op.resizes and op.padding == "reflect"

    def draw(self, uniform: Uniform, size: Size, real: Real) -> Drawn:
        """Return a seed per row, a whole number below 2**53, from the number that a policy's levels leave alone."""
        return np.floor(uniform[:, 1:2] * 2.0**53)

    def matrix(self, values: Values, size: Size) -> Matrices:
        """Return Kornia's matrix for each row's seed; raises RecipeError where none describes the augmentation."""
        op = self._found()
        if op.elastic:
            raise RecipeError(
                f"{self.augmentation} moves pixels in a way that no matrix describes, so masks and boxes can't follow; "
                "use Rotate, ShearX or Perspective instead."
            )
        with _sealed() as sow:
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
        size = _probe_size(self.op)
        return isinstance(self.op, RESIZING) or self.view_size(size) != size

    @cached_property
    def elastic(self) -> bool:
        if not hasattr(self.op, "generate_transformation_matrix"):
            return True
        smooth = copy.deepcopy(self.op)
        plain = {"resample": Resample.BILINEAR, "antialias": False}
        smooth.flags = {**smooth.flags, **{name: value for name, value in plain.items() if name in smooth.flags}}
        try:
            return not all(_follows(*_trial(smooth, seed)) for seed in range(TRIALS))
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
        with _sealed() as sow:
            sow(0)
            drawn = self.op.forward_parameters((32, 3, *_probe_size(self.op)))
            matrices = torch.cat([self.matrix(_probe_size(self.op)) for _ in range(32)])
        names = _names(self.op, drawn)
        if names is None or (not kind.__module__.startswith("kornia.") and _own_map(kind)):
            names = (*(names or ()), kind.__name__)
        mirrored = bool((torch.linalg.det(matrices) < 0).any())
        return names if not mirrored or {"HorizontalFlip", "VerticalFlip"} & {*names} else (*names, "HorizontalFlip")

    def matrix(self, size: Size) -> Matrices:
        return _matrix(self.op, self.op.forward_parameters((1, 3, *size)), size)

    def view_size(self, size: Size) -> Size:
        try:
            with _sealed() as sow:
                sow(0)
                view = _image(self.op, torch.zeros(1, 3, *size, dtype=torch.float64))
        except FAILURES as error:
            raise RecipeError(
                f"{type(self.op).__name__} can't be applied to images of {size} (height, width): {error}; change its "
                "arguments, or the size of the images before it."
            ) from error
        return size if view is None else (view.shape[-2], view.shape[-1])

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


@contextmanager
def _sealed() -> Iterator[Callable[[int], Any]]:
    """Yield what sets the seed of torch's CPU generator, which is restored in the end; no other one is touched."""
    with torch.random.fork_rng(devices=[]), torch.autocast("cpu", enabled=False), torch.no_grad():
        yield torch.default_generator.manual_seed


def _matrix(op: Any, drawn: dict[str, Tensor], size: Size) -> Matrices:
    matrix: Matrices = op.generate_transformation_matrix(
        torch.zeros((), dtype=torch.float64).expand(1, 3, *size), drawn, op.flags
    )
    return matrix.double()


def _image(op: Any, image: Tensor, drawn: dict[str, Tensor] | None = None) -> Tensor | None:
    """Return what an augmentation makes of an image, None where it says nothing but its matrix."""
    try:
        view: Tensor = op(image, params=drawn)
    except NotImplementedError:
        return None
    return view


def _probe_size(op: Any) -> Size:
    """Return the size of an image that a crop fits in."""
    wanted = op.flags.get("size", 0)
    height, width = (wanted, wanted) if isinstance(wanted, int) else wanted
    return max(48, height + 16), max(64, width + 32)


def _trial(op: Any, seed: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return a smooth test image, and the matrix and the view, as far as there are any, that a seed draws for it."""
    height, width = _probe_size(op)
    y, x = torch.linspace(0, 1, height, dtype=torch.float64)[:, None], torch.linspace(0, 1, width, dtype=torch.float64)
    image = torch.stack([(x + 0 * y), (y + 0 * x), (1 + torch.sin(5 * x + 3 * y * y)) / 2])[None]
    with _sealed() as sow:
        sow(seed)
        drawn = op.forward_parameters(tuple(image.shape))
        known = hasattr(op, "generate_transformation_matrix")
        return image, _matrix(op, drawn, (height, width)) if known else None, _image(op, image, drawn)


def _follows(image: Tensor, matrix: Tensor | None, view: Tensor | None) -> bool:
    """Tell whether a view is its image warped by its matrix, wherever it shows nothing but the image's inside.

    An eighth along each border is left out: crops that are cut out before they are enlarged repeat their last pixels.
    """
    if view is None or matrix is None:
        return matrix is not None
    size = (view.shape[-2], view.shape[-1])
    shown = warp_perspective(torch.cat([image, torch.ones_like(image[:, :1])], 1), matrix, size)
    rows, columns = (slice(side // 8, side - side // 8) for side in size)
    covered = shown[:, 3:, rows, columns] > 1 - 1e-9
    off = (shown[:, :3] - view)[..., rows, columns].abs() * covered
    return not off.numel() or float(off.max()) <= TOLERANCE


def _same(one: tuple[Tensor | None, ...], other: tuple[Tensor | None, ...]) -> bool:
    """Tell whether two trials drew the same."""
    return all(
        (a is None and b is None) or (a is not None and b is not None and a.shape == b.shape and torch.equal(a, b))
        for a, b in zip(one, other, strict=True)
    )
