"""Recipe: a whole run as one frozen value, checked when it is built and read back without running a Python file."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from ssmtl.budget import LabelBudget
from ssmtl.component import Component, mistakes, plugins, walk
from ssmtl.datasets.base import Reader, Side
from ssmtl.errors import CheckpointError, RecipeError, nearest
from ssmtl.models.multitask import Model
from ssmtl.objective import Objective
from ssmtl.optimizers import Adam, Optimizer
from ssmtl.schedules import Constant, Schedule
from ssmtl.streams import PerSource, Streams
from ssmtl.task import Task
from ssmtl.teacher import Teacher
from ssmtl.views.declared import allowed, check_aligned, check_follow, check_names
from ssmtl.views.policy import Policy
from ssmtl.views.presets import default_strong, identity

FORMAT = 1
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_. -]*$", max_length=80)]
Every = Annotated[int, Field(ge=1)]


class Views(Component):
    """The policies behind the weak and the strong view.

    The default strong view blanks a square and applies two ops of those that the tasks declare.
    """

    weak: Policy = identity()
    strong: Policy = default_strong()

    def policy(self, name: str) -> Policy:
        """Return the policy of a view's name."""
        policies = {"weak": self.weak, "strong": self.strong}
        if name not in policies:
            raise RecipeError(f"there is no view '{name}'{nearest(name, policies)}")
        return policies[name]

    @model_validator(mode="after")
    def _followed(self) -> Self:
        check_follow(self.weak, self.strong)
        return self


class Source(Component):
    """Training images: a reader, the tasks it serves, and how its images are augmented (None: as the recipe says).

    With `hide_labels` none of its labels trains, or counts in a budget: they are for measuring pseudo-labels only, and
    may be of classes that no task knows.
    """

    name: Name = Field(kw_only=False)
    reader: Reader = Field(kw_only=False)
    serves: tuple[str, ...]
    views: Views | None = None
    hide_labels: bool = False


class Split(Component):
    """Images for evaluation: a reader and the tasks that are scored on it, all labels visible.

    `tile` is the (height, width) that is predicted at a time where memory is too short for whole images; only tasks
    whose predictions are one map can be put together of tiles (see `ssmtl.tiling`).
    """

    name: Name = Field(kw_only=False)
    reader: Reader = Field(kw_only=False)
    tasks: tuple[str, ...]
    tile: tuple[Side, Side] | None = None


class Published(Component):
    """The row of a paper's tables that a run is comparable with; `same_data` False says that only the method is."""

    paper: str
    method: str
    setting: tuple[tuple[str, str | int], ...] = ()
    same_data: bool = False


class Recipe(Component):
    """A run: what is learned (`objectives`), from what (`sources`, `budget`, `streams`), and how.

    `steps` are optimizer steps of `accumulate` micro-steps each; `clip` bounds the gradient's L2 norm. `evaluate` says
    whose weights are scored, `select` which checkpoint is tested; "best" means the highest geometric mean of the tasks'
    headline metrics on `validation`. With `test_last` above 1 the test reports the median of each metric over that many
    last evaluations, `eval_every` steps apart. `data` is the folder that readers look in, so that a run can be scored
    where that folder has moved. Raises `pydantic.ValidationError` with a sentence per mistake.
    """

    name: Name
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1)]
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    model: Model
    validation: tuple[Split, ...] = ()
    test: tuple[Split, ...] = ()
    views: Views = Views()
    budget: LabelBudget = LabelBudget()
    streams: Streams = PerSource()
    optimizer: Optimizer = Adam()
    schedule: Schedule = Constant()
    teacher: Teacher = Teacher()
    steps: Every = 1000
    eval_every: Every = 100
    checkpoint_every: Every = 100
    accumulate: Every = 1
    clip: Annotated[float, Field(gt=0)] | None = None
    evaluate: Literal["student", "teacher"] = "student"
    select: Literal["last", "best"] = "last"
    test_last: Every = 1
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    data: str | None = None
    published: Published | None = None
    deviations: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _checked(self) -> Self:
        self._check_names()
        self._check_selection()
        self._check_abilities()
        self._check_images()
        self._check_symmetries()
        return self

    @property
    def tasks(self) -> dict[str, Task]:
        """Return the tasks by name, in the order of the objectives."""
        return {objective.task.name: objective.task for objective in self.objectives}

    def source_views(self, source: Source) -> Views:
        """Return the views of a source's images."""
        return source.views or self.views

    def policy(self, source: Source, view: str) -> Policy:
        """Return what a view does to a source's images: what the recipe says, as far as the source's tasks declare it.

        Raises RecipeError where that is refused, see `ssmtl.views.declared`.
        """
        tasks = [self.tasks[name] for name in source.serves]
        where = f"the {view} views of '{source.name}'"
        aligned = [o.task.name for o in self.objectives if o.strategy.aligned]
        found = allowed(self.source_views(source).policy(view), view, tasks, source.reader.channels, where, aligned)
        if view != "weak":
            weak = self.policy(source, "weak")
            check_follow(weak, found)
            check_aligned(weak, found, tasks, aligned)
        return found

    def used_views(self) -> tuple[str, ...]:
        """Return the names of the views that some strategy reads, and of the weak one, sorted."""
        return tuple(sorted({"weak", *(look.view.policy for o in self.objectives for look in o.strategy.sees())}))

    def headline(self, task: str) -> str:
        """Return the name under which a task's headline metric is logged."""
        return f"{task}/{self.tasks[task].headline}"

    def _check_names(self) -> None:
        _unique("task", [objective.task.name for objective in self.objectives])
        _unique("source", [source.name for source in self.sources])
        _unique("split", [split.name for split in (*self.validation, *self.test)])
        for source in self.sources:
            _known(f"the source '{source.name}' serves", source.serves, self.tasks)
        for split in (*self.validation, *self.test):
            _known(f"the split '{split.name}' scores", split.tasks, self.tasks)
            for name in split.tasks if split.tile else ():
                if self.tasks[name].annotation != "mask":
                    raise RecipeError(
                        f"the split '{split.name}' predicts tiles of {split.tile} pixels, of which '{name}' can't be "
                        "put together: only masks can; give it a split of its own, without `tile`."
                    )
        _known("the budget counts labels of", [task for task, _ in self.budget.counts], self.tasks)
        if self.model.bridge is not None:
            _known("the saliency bridge joins", (self.model.bridge.source, self.model.bridge.into), self.tasks)
        for name in self.tasks:
            if not any(name in source.serves for source in self.sources):
                raise RecipeError(f"no source serves the task '{name}'; add it to the `serves` of one.")

    def _check_selection(self) -> None:
        scored = [task for split in self.validation for task in split.tasks]
        if self.select == "best" and not scored:
            raise RecipeError("select='best' chooses by validation scores; add a `validation` split, or select='last'.")
        if self.select == "best" and self.test_last > 1:
            raise RecipeError(
                f"test_last={self.test_last} tests the last weights, select='best' others; leave one of the two out."
            )
        for task in scored:
            if scored.count(task) > 1:
                raise RecipeError(f"two validation splits score '{task}'; a checkpoint is chosen by one, so keep one.")

    def _check_abilities(self) -> None:
        for objective in self.objectives:
            task, strategy = objective.task, objective.strategy
            for ability in strategy.abilities():
                if not isinstance(task, ability):
                    part = next((p for p in walk(strategy) if ability in getattr(p, "requires", ())), strategy)
                    instead = f"leave it out of {strategy.kind}"
                    if part is strategy:
                        instead = "use another strategy for it, such as Supervised()"
                    raise RecipeError(
                        f"{part.kind} needs a task with the ability {ability.__name__}, which {task.kind} "
                        f"('{task.name}') does not have; {instead}."
                    )
        for source in self.sources:
            for name in source.serves:
                kind = self.tasks[name].reads
                if not source.reader.annotates(kind):
                    raise RecipeError(
                        f"the task '{name}' learns from '{kind}' annotations, but {source.reader.kind} of the source "
                        f"'{source.name}' has none; take '{name}' out of its `serves`."
                    )

    def _check_images(self) -> None:
        readers = {source.name: source.reader for source in self.sources}
        readers |= {split.name: split.reader for split in (*self.validation, *self.test)}
        first = self.sources[0]
        for name, reader in readers.items():
            if reader.canvas != first.reader.canvas:
                raise RecipeError(
                    f"'{name}' has canvas {reader.canvas}, '{first.name}' {first.reader.canvas}; one batch holds one "
                    "size: give every reader the same canvas."
                )
            if reader.channels != self.model.channels:
                raise RecipeError(
                    f"'{name}' reads {reader.channels} channel(s), the model takes {self.model.channels}; "
                    "set `channels` to the same number."
                )

    def _check_symmetries(self) -> None:
        policies = [self.source_views(source).policy(view) for source in self.sources for view in self.used_views()]
        used = {name for policy in policies for op in policy.transforms() for name in op.names}
        for task in self.tasks.values():
            check_names(task, used)
        sizes = {}
        for source in self.sources:
            for view in self.used_views():
                sizes[view, source.name] = self.policy(source, view).view_size(source.reader.canvas)
        (view, name), first = next(iter(sizes.items()))
        for (other, where), size in sizes.items():
            if size != first:
                raise RecipeError(
                    f"the {other} views of '{where}' have size {size}, the {view} views of '{name}' {first}; one batch "
                    "holds one size: cut all to the same."
                )

    def to_json(self) -> str:
        """Return the text of `recipe.json`: the format, the plugin behind every kind, and the recipe."""
        data = {"format": FORMAT, "plugins": plugins(self), "recipe": self.model_dump()}
        return json.dumps(data, indent=1)


def read_recipe(path: Path) -> Recipe:
    """Read `recipe.json`; raises CheckpointError for a missing, damaged or newer file, naming missing plugins."""
    try:
        data: dict[str, Any] = json.loads(path.read_text())
        version, needed, fields = data["format"], data["plugins"], data["recipe"]
    except FileNotFoundError:
        raise CheckpointError(
            f"{path.parent} is not a run folder: it has no recipe.json. Name a finished run."
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} can't be read as a recipe ({error}); restore it from a copy.") from error
    if version != FORMAT:
        raise CheckpointError(f"{path} has format {version}, this version reads {FORMAT}; upgrade ssmtl.")
    try:
        return Recipe.model_validate(fields)
    except ValueError as error:
        wanted = ", ".join(sorted(set(needed.values())))
        reason = mistakes(error) if isinstance(error, ValidationError) else error
        raise CheckpointError(f"{path} can't be rebuilt (it was written with {wanted}): {reason}") from error


def _unique(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise RecipeError(f"two {what}s are called '{name}'; names must be unique.")


def _known(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            raise RecipeError(f"{what} the task '{name}', which no objective has{nearest(name, known)}")
