"""Component: the frozen, validated value that every part of a recipe is.

A component holds scalars, strings, paths, tuples and other components, never anything live. Modules, tables and
optimizers are built *from* it. It prints, compares, hashes, and survives a round trip through JSON in a fresh process,
where its class is found by (group, kind) through the entry points `ssmtl.<group>`.
"""

import importlib.metadata
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar, Self, cast

from pydantic import BaseModel, ConfigDict, ValidationError, model_serializer, model_validator
from pydantic_core import PydanticCustomError

from ssmtl.errors import RecipeError, nearest


class Component(BaseModel):
    """A frozen value with a `kind`; `group` names the entry-point group that its subclasses are found in.

    Fields marked `Field(kw_only=False)` may be passed by position, in their order. Unknown fields, wrong types and
    out-of-range values raise `pydantic.ValidationError` with the location.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants", validate_default=True)

    group: ClassVar[str] = ""
    kind: ClassVar[str] = "Component"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.kind = cls.__name__

    def __init__(self, *args: Any, **fields: Any) -> None:
        names = [name for name, field in type(self).model_fields.items() if field.kw_only is False]
        if len(args) > len(names):
            raise TypeError(f"{self.kind} takes at most {len(names)} positional argument(s), got {len(args)}")
        for name, value in zip(names, args, strict=False):
            if name in fields:
                raise TypeError(f"{self.kind} got two values for '{name}'")
            fields[name] = value
        super().__init__(**fields)

    @classmethod
    def examples(cls) -> "tuple[Component, ...]":
        """Return values that stand for all that this class can be: the contract suites run on each of them."""
        return (cls(),)

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, value: Any, handler: Callable[[Any], Self]) -> Self:
        """Resolve `{"kind": ..., fields}` to its class, and name the nearest field for an unknown one."""
        if not isinstance(value, Mapping):
            return handler(value)
        fields = dict(value)
        kind = fields.pop("kind", cls.kind)
        target = cls if kind == cls.kind else resolve(cls.group, kind)
        if not issubclass(target, cls):
            raise PydanticCustomError("kind", "{kind} is not a {base}", {"kind": kind, "base": cls.kind})
        for name in fields:
            if name not in target.model_fields:
                hint = nearest(name, target.model_fields)
                raise PydanticCustomError(
                    "unknown_field", "{kind} has no field '{name}'{hint}", {"kind": kind, "name": name, "hint": hint}
                )
        return handler(fields) if target is cls else target.model_validate(fields)

    @model_serializer(mode="plain")
    def _dump(self) -> dict[str, Any]:
        """Write `kind` first, then every field of the actual class, also where the annotation is a base class."""
        return {"kind": self.kind, **{name: _plain(getattr(self, name)) for name in type(self).model_fields}}

    def replace(self, **changes: Any) -> Self:
        """Return a validated copy with some fields changed; raises `pydantic.ValidationError` like the constructor.

        What was never given stays a default, which may depend on other fields.
        """
        current = {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}
        return type(self)(**{**current, **changes})


def _plain(value: Any) -> Any:
    if isinstance(value, Component):
        return value._dump()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


@cache
def _entry_points(group: str) -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=f"ssmtl.{group}")}


def kinds(group: str) -> tuple[str, ...]:
    """Return the names of every installed component of `group`, sorted, without importing any."""
    return tuple(sorted(_entry_points(group)))


def resolve(group: str, kind: str) -> type[Component]:
    """Import the component class named `kind` in `group`; raises `RecipeError` naming the nearest one."""
    points = _entry_points(group)
    if kind not in points:
        raise RecipeError(
            f"no installed package offers '{kind}' in the group 'ssmtl.{group}'{nearest(kind, points)} "
            "Install the plugin that provides it, or correct the name."
        )
    return cast(type[Component], points[kind].load())


def plugins(value: Component) -> dict[str, str]:
    """Return `{group/kind: distribution==version}` for `value` and all inside it; raises for one that can't resolve."""
    found: dict[str, str] = {}
    for part in walk(value):
        if not part.group:
            continue
        if resolve(part.group, part.kind) is not type(part):
            raise RecipeError(
                f"{part.kind} of {type(part).__module__} is hidden by another component of that name in the group "
                f"'ssmtl.{part.group}'; give it a name of its own and register it as an entry point."
            )
        dist = _entry_points(part.group)[part.kind].dist
        found[f"{part.group}/{part.kind}"] = f"{dist.name}=={dist.version}" if dist else "unknown"
    return dict(sorted(found.items()))


def walk(value: Any) -> list[Component]:
    """Return every component in `value`, itself first, depth first."""
    if isinstance(value, tuple):
        return [part for item in value for part in walk(item)]
    if not isinstance(value, Component):
        return []
    inner = [part for name in type(value).model_fields for part in walk(getattr(value, name))]
    return [value, *inner]


def mistakes(error: ValidationError) -> str:
    """Return a validation error's text for people.

    It is each mistake with its place, alternatives joined by "or", and what was given where that is one number or word.
    """
    found: dict[str, list[str]] = {}
    given: dict[str, str] = {}
    for mistake in error.errors():
        # A union puts the member it tried into the place, such as "literal['full']".
        parts = (str(part) for part in mistake["loc"])
        place = ".".join((error.title, *(part for part in parts if part.replace("_", "").isalnum())))
        found.setdefault(place, []).append(mistake["msg"].removeprefix("Value error, "))
        if mistake["msg"].startswith("Input should be") and isinstance(mistake["input"], int | float | str):
            given[place] = f", got {mistake['input']!r}"
    return "; ".join(f"{place}: {', or '.join(texts)}{given.get(place, '')}" for place, texts in found.items())
