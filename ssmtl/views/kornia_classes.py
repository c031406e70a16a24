"""How augmentations of Kornia are found by name, and how their arguments are read back from an object."""

import inspect
import math
import sys
from collections.abc import Mapping
from enum import Enum
from typing import Any

import kornia.augmentation as K  # noqa: N812 - the name that its documentation gives it
import numpy as np
from torch import Tensor

from ssmtl.component import kinds, resolve
from ssmtl.errors import RecipeError, nearest

GROUP = "kornia"
"""Entry points of `ssmtl.kornia` name augmentations of other packages, which then need no module in their name."""
HANDLING = ("p", "p_batch", "same_on_batch", "keepdim")
"""Arguments of every augmentation that say how a batch is handled, which is the policy's to say."""


def frozen(name: str, value: Any) -> Any:
    """Return an argument as what JSON can hold; raises ValueError for what it can't."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, Tensor | np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return tuple(frozen(name, item) for item in value)
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and not math.isnan(value)):
        return value
    raise ValueError(f"{name}={value!r} can't be kept in a recipe; give numbers, strings, None or tuples of them")


def pairs_of(value: Any) -> Any:
    """Return arguments as pairs sorted by name, without those that change nothing."""
    pairs = tuple(value.items() if isinstance(value, Mapping) else value)
    found = {name: frozen(name, given) for name, given in pairs}
    if len(found) < len(pairs):
        raise ValueError(f"arguments {[name for name, _ in pairs]} hold a name twice; give every argument once")
    if "p" in found:
        raise ValueError("p is not an argument of the augmentation here; give Kornia(..., p=...)")
    if found.pop("same_on_batch", False) or found.pop("p_batch", 1) != 1:
        raise ValueError(
            "same_on_batch=True and p_batch would make what an image shows depend on its batch; leave them out"
        )
    return tuple(sorted((name, given) for name, given in found.items() if name != "keepdim"))


def find(augmentation: str) -> type | None:
    """Return the class of that name, None where its module has not been imported; raises RecipeError for none."""
    module, colon, path = augmentation.partition(":")
    if not colon:
        found = getattr(K, augmentation, None)
        if found is None and augmentation in kinds(GROUP):
            found = resolve(GROUP, augmentation)
        if found is None:
            known = [name for name in dir(K) if isinstance(getattr(K, name), type) and not _mistake(getattr(K, name))]
            raise RecipeError(
                f"kornia.augmentation has no '{augmentation}'{nearest(augmentation, (*known, *kinds(GROUP)))} A class "
                "of your own is named 'package.module:Class'."
            )
    else:
        owner = sys.modules.get(module)
        found = None if owner is None else getattr(owner, path, None)
        # The script that a finished run was started with is another `__main__` than the one that reads its recipe.
        if found is None and (owner is None or module == "__main__"):
            return None
        if found is None:
            raise RecipeError(f"the module '{module}' has no '{path}'{nearest(path, _augmentations(owner))}")
    mistake = _mistake(found)
    if mistake:
        raise RecipeError(f"{augmentation} {mistake}")
    return found if isinstance(found, type) else None


def _augmentations(module: Any) -> list[str]:
    return [name for name, value in vars(module).items() if isinstance(value, type) and not _mistake(value)]


def _mistake(value: Any) -> str:
    """Say what is wrong with something as a geometric augmentation; nothing where it is one."""
    if isinstance(value, type) and issubclass(value, K.IntensityAugmentationBase2D):
        known, theirs = kinds("transforms"), value.__name__
        ours = [kind for kind in known if vars(resolve("transforms", kind)).get("kornia") == theirs]
        hint = f", among them {ours[0]}" if ours else ""
        return f"changes levels, not places: ssmtl has transforms of its own for that{hint}; see `ssmtl list`."
    if not isinstance(value, type) or not issubclass(value, K.AugmentationBase2D):
        return "is not a geometric augmentation of 2D images; name a subclass of GeometricAugmentationBase2D."
    return ""


def name_of(kind: type) -> str:
    """Return the name under which a class is found again; raises RecipeError where there is none."""
    mistake = _mistake(kind)
    if mistake:
        raise RecipeError(f"{kind.__name__} {mistake}")
    own = kind.__name__
    if getattr(K, own, None) is kind or (own in kinds(GROUP) and resolve(GROUP, own) is kind):
        return own
    name = f"{kind.__module__}:{kind.__qualname__}"
    if getattr(sys.modules.get(kind.__module__), kind.__qualname__, None) is not kind:
        raise RecipeError(
            f"the class '{name}' can't be found again by its name; define it at the top level of a module that the "
            "recipe file imports."
        )
    return name


def arguments_of(op: Any) -> dict[str, Any]:
    """Return the arguments that an augmentation seems to have been made with, without those at their defaults."""
    found = {}
    generator = op._param_generator
    samplers = {name: factor for factor, name, *_ in getattr(generator, "samplers", ())}
    for name, parameter in inspect.signature(type(op)).parameters.items():
        if name in HANDLING or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        for place in (op.flags, vars(op), samplers, {} if generator is None else vars(generator)):
            given = next((place[key] for key in (name, f"_{name}") if key in place), parameter.empty)
            if given is not parameter.empty:
                break
        default = parameter.default
        if given is not parameter.empty and (
            default is parameter.empty or frozen(name, given) != frozen(name, default)
        ):
            found[name] = given
    return found
