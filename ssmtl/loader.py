"""From sources to batches: tables opened once, labels hidden by the budget, samples decoded in worker processes."""

import signal
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch.utils.data import DataLoader, Dataset

from ssmtl.batch import Batch, Sample
from ssmtl.budget import Labels
from ssmtl.datasets.base import Reader, Table
from ssmtl.datasets.cached import CACHE_BYTES, remembered
from ssmtl.errors import DataError, SsmtlError
from ssmtl.label_record import labels_of
from ssmtl.recipe import Recipe
from ssmtl.streams import Coverage, Group, Ref, StepSampler
from ssmtl.task import Audited, Target, Task


@dataclass(frozen=True)
class OpenSources:
    """The recipe's sources, opened: tables end to end, and who serves, annotates and shows what.

    `annotated[t]` says which rows have a label of task t, were it a hidden one.
    """

    recipe: Recipe
    tables: tuple[Table, ...]
    coverage: Coverage
    annotated: dict[str, Bool[np.ndarray, " n"]]

    def groups(self) -> tuple[Group, ...]:
        """Return the groups that every batch draws from; raises DataError when no strategy gets what it learns from."""
        groups = self.recipe.streams.groups(self.coverage)
        _check_unlabeled(self.recipe, self.coverage, groups)
        return groups


def open_sources(recipe: Recipe) -> OpenSources:
    """Open every source and apply the label budget; raises DataError with what is wrong on disk or in the budget."""
    tables = tuple(remembered(source.reader.open(), CACHE_BYTES // len(recipe.sources)) for source in recipe.sources)
    starts = tuple(int(n) for n in np.cumsum([0, *(len(table) for table in tables)]))
    names = tuple(source.name for source in recipe.sources)
    served: dict[str, Bool[np.ndarray, " n"]] = {}
    found: dict[str, Labels] = {}
    annotated: dict[str, Bool[np.ndarray, " n"]] = {}
    for name, task in recipe.tasks.items():
        serves = [name in source.serves for source in recipe.sources]
        teaches = [yes and not source.hide_labels for yes, source in zip(serves, recipe.sources, strict=True)]
        served[name] = np.concatenate([np.full(len(t), yes) for t, yes in zip(tables, serves, strict=True)])
        each = [t.annotated(task.reads) for t in tables]
        annotated[name] = np.concatenate(each) & served[name]
        shown = [mask & yes for mask, yes in zip(each, teaches, strict=True)]
        has = tuple((source, int(mask.sum())) for source, mask, yes in zip(names, shown, teaches, strict=True) if yes)
        index, classes, known = _labels(recipe, name, task, tables)
        found[name] = Labels(np.concatenate(shown), index, classes, has, known)
    if recipe.budget.record is None:
        visible = recipe.budget.visible(found)
    else:
        may_show = {name: labels.annotated for name, labels in found.items()}
        visible = labels_of(recipe.budget.record, dict(zip(names, tables, strict=True)), may_show)
    return OpenSources(recipe, tables, Coverage(names, starts, served, visible), annotated)


def _check_unlabeled(recipe: Recipe, coverage: Coverage, groups: Sequence[Group]) -> None:
    """Refuse a run none of whose strategies will ever see an unlabeled image that it asks for."""
    learning = {
        objective.task.name: objective.strategy.kind
        for objective in recipe.objectives
        if any(look.rows == "unlabeled" for look in objective.strategy.sees())
    }
    for name in learning:
        for group in groups:
            hidden = coverage.served[name][group.pool]
            if group.use_labels:
                hidden = hidden & ~coverage.visible[name][group.pool]
            if hidden.any():
                return
    if learning:
        name, kind = next(iter(learning.items()))
        raise DataError(
            f"{kind} learns '{name}' from unlabeled images, but no batch will hold any; let the budget hide labels, "
            "add a source of unlabeled images, or draw some in the streams (their `unlabeled` above 0)."
        )


def _labels(
    recipe: Recipe, name: str, task: Task, tables: Sequence[Table]
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int32]] | None, tuple[str, ...], tuple[str, ...]]:
    """Return an index into the task's classes per row of all sources, these classes, and those that sources know.

    The index is None for tasks without classes.

    Raises DataError for a class of a reader that the task doesn't know: before training, not in the midst of it.
    """
    if task.annotation != "label":
        return None, (), ()
    classes: tuple[str, ...] = getattr(task, "classes", ())
    known = [class_name.casefold() for class_name in classes]
    parts, named = [], set[str]()
    for source, table in zip(recipe.sources, tables, strict=True):
        labels = table.labels(task.reads) if name in source.serves and not source.hide_labels else None
        if labels is None:
            parts.append(np.full(len(table), -1, np.int32))
            continue
        theirs = source.reader.classes(task.reads)
        for index in range(len(theirs)):
            task.target(index, theirs)
        named.update(c.casefold() for c in theirs)
        parts.append(np.array([*(known.index(c.casefold()) for c in theirs), -1], np.int32)[labels])
    return np.concatenate(parts), classes, tuple(c for c in classes if c.casefold() in named)


class Mixture(Dataset[tuple[Ref, int, Sample]]):
    """All sources as one dataset, indexed by `Ref`."""

    def __init__(self, sources: OpenSources) -> None:
        self.tables, self.starts = sources.tables, sources.coverage.starts

    def __getitem__(self, ref: Ref) -> tuple[Ref, int, Sample]:
        source = int(np.searchsorted(self.starts, ref.row, side="right")) - 1
        return ref, source, self.tables[source][ref.row - self.starts[source]]


class Collator:
    """Turns samples into a Batch: visible labels into targets, hidden ones into the audit, the rest into weight 0."""

    def __init__(self, sources: OpenSources) -> None:
        self.tasks = dict(sources.recipe.tasks)
        self.classes = {
            (index, name): source.reader.classes(task.reads)
            for index, source in enumerate(sources.recipe.sources)
            for name, task in self.tasks.items()
        }
        self.audited = [name for name, task in self.tasks.items() if isinstance(task, Audited)]
        self.coverage, self.annotated = sources.coverage, sources.annotated

    def __call__(self, items: Sequence[tuple[Ref, int, Sample]]) -> Batch:
        refs, sources, samples = zip(*items, strict=True)
        rows = np.array([ref.row for ref in refs])
        use = np.array([ref.use_labels for ref in refs])
        labeled = {name: self.coverage.visible[name][rows] & use for name in self.tasks}
        hidden = {name: self.annotated[name][rows] & ~labeled[name] for name in self.audited}
        return Batch(
            images=torch.from_numpy(np.stack([sample.image for sample in samples])),
            size=torch.tensor([sample.size for sample in samples]),
            targets={name: self._targets(name, samples, sources, labeled[name]) for name in self.tasks},
            audit={name: self._targets(name, samples, sources, hidden[name], audit=True) for name in self.audited},
            served={name: torch.from_numpy(self.coverage.served[name][rows]) for name in self.tasks},
            labeled={name: torch.from_numpy(mask) for name, mask in labeled.items()},
            sources=torch.tensor(sources),
            positions=torch.tensor([ref.position for ref in refs]),
            names=tuple(sample.name for sample in samples),
        )

    def _targets(
        self,
        name: str,
        samples: Sequence[Sample],
        sources: Sequence[int],
        shown: Bool[np.ndarray, " b"],
        *,
        audit: bool = False,
    ) -> Target:
        task = self.tasks[name]
        read = task.hidden_target if audit and isinstance(task, Audited) else task.target
        found = [
            read(sample.annotations[task.reads], self.classes[source, name]) if show else None
            for sample, source, show in zip(samples, sources, shown, strict=True)
        ]
        return task.collate(found, samples[0].image.shape[-2:])


def training_loader(
    sources: OpenSources, *, start: int, stop: int, rank: int, world: int, workers: int, pin: bool
) -> Iterator[Batch]:
    """Return batches of the micro-steps in [start, stop), decoded ahead by `workers` processes."""
    sampler = StepSampler(sources.groups(), sources.recipe.seed, start, stop, rank, world)
    return delivered(batch_loader(Mixture(sources), Collator(sources), sampler, workers=workers, pin=pin))


class Batches(Dataset[Any]):
    """Complete batches, each asked for by the list of its rows.

    What a user can repair comes back as a value: an exception that leaves a worker process would reach the user buried
    in the text of that process's traceback.
    """

    def __init__(self, samples: Dataset[Any], collate: Callable[[list[Any]], Any]) -> None:
        self.samples, self.collate = samples, collate

    def __getitem__(self, rows: Sequence[Any]) -> Any:
        try:
            return self.collate([self.samples[row] for row in rows])
        except SsmtlError as error:
            error.add_note(traceback.format_exc())
            return error


def batch_loader(
    samples: Dataset[Any],
    collate: Callable[[list[Any]], Any],
    rows: Iterable[Sequence[Any]],
    *,
    workers: int,
    pin: bool = False,
    persistent: bool = False,
) -> DataLoader[Any]:
    """Return a loader of the batches whose rows are listed; read it through `delivered`."""
    return DataLoader(
        Batches(samples, collate),
        batch_size=None,
        sampler=rows,
        collate_fn=_unchanged,
        num_workers=workers,
        pin_memory=pin,
        persistent_workers=persistent and workers > 0,
        worker_init_fn=ignore_interrupts,
    )


def delivered(batches: Iterable[Any]) -> Iterator[Any]:
    """Yield batches; raises the SsmtlError that stands in the place of one."""
    for batch in batches:
        if isinstance(batch, SsmtlError):
            raise batch
        yield batch


def _unchanged(batch: Any) -> Any:
    return batch


def ignore_interrupts(_worker: int) -> None:
    """Leave Ctrl-C to the main process, which saves before it stops."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


class Evaluated(Dataset[Sample]):
    """A table as a dataset: every sample once."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, row: int) -> Sample:
        return self.table[row]


def targets_of(tasks: Mapping[str, Task], reader: Reader, samples: Sequence[Sample]) -> dict[str, Target]:
    """Return each task's targets of evaluation samples; samples without the annotation have weight 0."""
    size = samples[0].image.shape[-2:]
    found = {}
    for name, task in tasks.items():
        classes = reader.classes(task.reads)
        each = [
            task.target(sample.annotations[task.reads], classes) if task.reads in sample.annotations else None
            for sample in samples
        ]
        found[name] = task.collate(each, size)
    return found
