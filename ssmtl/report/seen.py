"""What training sees in a step: some of its images, their views, and where their annotations go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, zip_longest

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from ssmtl.batch import Sample
from ssmtl.datasets.base import Reader
from ssmtl.loader import Mixture, OpenSources
from ssmtl.palette import PLACED
from ssmtl.planning import draw_view, rows_of
from ssmtl.recipe import Recipe, Source
from ssmtl.report.view_words import draw_words
from ssmtl.streams import Ref, StepSampler
from ssmtl.task import IGNORE_INDEX, BoxList, Croppable, Target, Task
from ssmtl.views.boxes import move_boxes
from ssmtl.views.geometry import STRONG, WEAK, Geometry, View, between
from ssmtl.views.moving import move_labels
from ssmtl.views.render import Rendered, render

MARGIN = 2.0
"""Pixels from the weak view's border within which a box that ends there is taken to be cut by it."""
KNOWN = ("mask", "boxes", "label")
"""Forms of annotations that a sheet draws itself."""
COUNTS, VOID, CUTOUT, EMPTY, UNSEEN = range(5)
"""What becomes of a view's pixel: its target counts; or it is ignored, because whoever made the mask said so (where it
is the mask that teaches), because it was blanked, because no pixel of the image is there (padding, mirrored ones
included), or because the weak view doesn't show it."""


@dataclass(frozen=True)
class Marks:
    """The annotations of one image, or where they are in a view: what is None was not annotated.

    `mask` holds indices into the reader's mask classes and 255 for ignored pixels. `cut` are the boxes that a
    detector's pseudo-labels lose, because the weak view's border cuts through them. `kinds` are the reader's names of
    what is shown as "mask", "boxes" and "label", of which it may have several; the first is shown. `others` are targets
    that only their tasks know how to draw.
    """

    mask: UInt8[np.ndarray, "h w"] | None = None
    boxes: BoxList | None = None
    cut: BoxList | None = None
    label: int | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)
    others: tuple[tuple[Task, Target], ...] = ()


@dataclass(frozen=True)
class Seen:
    """One image of a step: its views (`strong` None: nothing reads it) and its annotations, moved into the last view.

    `fate` says for each pixel of that view what becomes of it: one of COUNTS, VOID, CUTOUT, EMPTY and UNSEEN.
    """

    source: Source
    sample: Sample
    labeled: bool
    weak: UInt8[Tensor, "c h w"]
    strong: UInt8[Tensor, "c h w"] | None
    given: Marks
    moved: Marks
    dense: bool
    """Whether something can be learned at places of its source's images."""
    fate: UInt8[np.ndarray, "h w"]
    drawn: Mapping[str, str]


def look(sources: OpenSources, step: int, rows: int) -> tuple[list[Seen], int]:
    """Return up to `rows` images of a step's (first micro-)batch, spread over sources, and how many the batch has.

    Where there are more than that, those that some strategy reads in the strong view and that carry annotations come
    first. Raises RecipeError and DataError for what can't be read or drawn.
    """
    recipe = sources.recipe
    refs = StepSampler(sources.groups(), recipe.seed, 0, 1).batch(step * recipe.accumulate)
    strong = _strong_places(sources, refs)
    chosen = [refs[place] for place in _choose(sources, refs, strong, rows)]
    positions = {refs[place].position for place in strong}
    mixture = Mixture(sources)
    found = []
    for ref in chosen:
        _, index, sample = mixture[ref]
        labeled = ref.use_labels and any(visible[ref.row] for visible in sources.coverage.visible.values())
        views = (WEAK, STRONG) if ref.position in positions else (WEAK,)
        found.append(_see(recipe, recipe.sources[index], sample, ref.position, step, views, labeled=labeled))
    return found, len(refs)


def _strong_places(sources: OpenSources, refs: list[Ref]) -> set[int]:
    """Return the places of a batch whose strong view some strategy reads."""
    rows = np.array([ref.row for ref in refs])
    use = np.array([ref.use_labels for ref in refs])
    served = {name: torch.from_numpy(mask[rows]) for name, mask in sources.coverage.served.items()}
    labeled = {name: torch.from_numpy(mask[rows] & use) for name, mask in sources.coverage.visible.items()}
    found: set[int] = set()
    for objective in sources.recipe.objectives:
        name = objective.task.name
        for look in objective.strategy.sees():
            if look.view == STRONG:
                found |= set(rows_of(look.rows, served[name], labeled[name]).tolist())
    return found


def _choose(sources: OpenSources, refs: list[Ref], strong: set[int], rows: int) -> list[int]:
    """Return places of a batch, in turn from every source and then in the batch's order."""
    annotated = np.any(np.stack(list(sources.annotated.values())), axis=0)
    order = sorted(range(len(refs)), key=lambda place: (place not in strong, not annotated[refs[place].row], place))
    coverage = sources.coverage
    of_source = [[p for p in order if _within(refs[p].row, coverage.rows(name))] for name in coverage.sources]
    in_turn = [place for place in chain.from_iterable(zip_longest(*of_source)) if place is not None]
    return sorted(in_turn[:rows])


def _within(row: int, rows: slice) -> bool:
    return bool(rows.start <= row < rows.stop)


def _see(
    recipe: Recipe, source: Source, sample: Sample, position: int, step: int, views: tuple[View, ...], *, labeled: bool
) -> Seen:
    rendered, drawn = {}, {}
    sizes = torch.tensor([sample.size])
    images = torch.from_numpy(sample.image)[None]
    for view in views:
        keys = (recipe.seed, step, 0)
        draw = draw_view(
            recipe.policy(source, view.policy), view, keys, torch.tensor([position]), source.reader.canvas, sizes
        )
        rendered[view], drawn[view.policy] = render(images, draw), draw_words(draw, 0)
    given = _marks(sample, [recipe.tasks[name] for name in source.serves], source.reader)
    weak, strong = rendered[WEAK], rendered.get(STRONG)
    moved = move_marks(given, sample, weak.geometry, None if strong is None else strong.geometry)
    return Seen(
        source=source,
        sample=sample,
        labeled=labeled,
        weak=_levels(weak.image),
        strong=None if strong is None else _levels(strong.image),
        given=given,
        moved=moved,
        dense=_is_dense(source, [recipe.tasks[name] for name in source.serves]),
        fate=_fate(weak, strong, moved.mask),
        drawn=drawn,
    )


def _is_dense(source: Source, tasks: Sequence[Task]) -> bool:
    return any(source.reader.classes(kind) for kind in PLACED) or any(isinstance(task, Croppable) for task in tasks)


def _marks(sample: Sample, tasks: Sequence[Task], reader: Reader) -> Marks:
    kinds: dict[str, str] = {}
    for kind in sample.annotations:
        kinds.setdefault(kind.partition(":")[0], kind)
    found = {form: sample.annotations[kind] for form, kind in kinds.items()}
    mask, boxes, label = (found.get(form) for form in KNOWN)
    others = [task for task in tasks if task.annotation not in KNOWN and task.reads in sample.annotations]
    canvas = (sample.image.shape[1], sample.image.shape[2])
    targets = [task.target(sample.annotations[task.reads], reader.classes(task.reads)) for task in others]
    return Marks(
        mask=mask if isinstance(mask, np.ndarray) else None,
        boxes=boxes if isinstance(boxes, BoxList) else None,
        label=int(label) if isinstance(label, int | np.integer) else None,
        kinds=kinds,
        others=tuple((task, task.collate([each], canvas)) for task, each in zip(others, targets, strict=True)),
    )


def move_marks(marks: Marks, sample: Sample, weak: Geometry, strong: Geometry | None) -> Marks:
    """Move annotations into the weak view, and on from there into the strong one: what a perfect teacher hands on."""
    into_weak = replace(weak, valid=_real(sample))
    on = None if strong is None else between(weak, strong)
    return Marks(
        mask=None if marks.mask is None else _move_mask(marks.mask, into_weak, on),
        boxes=None if marks.boxes is None else _move_boxes(marks.boxes, into_weak, on, cut=False),
        cut=None if marks.boxes is None or on is None else _move_boxes(marks.boxes, into_weak, on, cut=True),
        label=marks.label,
        kinds=marks.kinds,
        others=tuple((task, _move_target(task, target, into_weak, on)) for task, target in marks.others),
    )


def _move_target(task: Task, target: Target, into_weak: Geometry, on: Geometry | None) -> Target:
    moved = task.warp(target, into_weak)
    return moved if on is None else task.warp(moved, on)


def _move_mask(mask: UInt8[np.ndarray, "h w"], into_weak: Geometry, on: Geometry | None) -> UInt8[np.ndarray, "H W"]:
    moved = move_labels(torch.from_numpy(mask)[None].long(), into_weak, fill=IGNORE_INDEX)
    moved = moved if on is None else move_labels(moved, on, fill=IGNORE_INDEX)
    return moved[0].to(torch.uint8).numpy()


def _move_boxes(boxes: BoxList, into_weak: Geometry, on: Geometry | None, *, cut: bool) -> BoxList:
    """Return the boxes that are kept, or those that are lost only because the weak view's border cuts them."""
    xyxy, present = torch.from_numpy(boxes.xyxy)[None], torch.ones(1, len(boxes), dtype=torch.bool)
    xyxy, kept = move_boxes(xyxy, present, into_weak)
    if on is not None:
        everything, visible = move_boxes(xyxy, kept, on)
        _, kept = move_boxes(xyxy, kept, on, drop_cut=MARGIN)
        xyxy, kept = everything, visible & ~kept if cut else kept
    rows = kept[0].numpy()
    return BoxList(xyxy[0].numpy()[rows], boxes.labels[rows], boxes.crowd[rows])


def _fate(weak: Rendered, strong: Rendered | None, mask: UInt8[np.ndarray, "h w"] | None) -> UInt8[np.ndarray, "h w"]:
    last = weak if strong is None else strong
    fate = torch.full(last.valid.shape[1:], COUNTS, dtype=torch.uint8)
    if strong is None and mask is not None:
        fate[torch.from_numpy(mask == IGNORE_INDEX)] = VOID
    if strong is not None:
        nothing = torch.zeros(weak.valid.shape, dtype=torch.int64)
        fate[move_labels(nothing, between(weak.geometry, strong.geometry))[0] == IGNORE_INDEX] = UNSEEN
    fate[~last.valid[0]] = EMPTY
    if last.geometry.erased is not None:
        fate[last.geometry.erased[0]] = CUTOUT
    return fate.numpy()


def _real(sample: Sample) -> Bool[Tensor, "1 h w"]:
    real = torch.zeros(1, *sample.image.shape[1:], dtype=torch.bool)
    real[:, : sample.size[0], : sample.size[1]] = True
    return real


def _levels(image: Float[Tensor, "1 c h w"]) -> UInt8[Tensor, "c h w"]:
    return (image[0] * 255).round().to(torch.uint8)
