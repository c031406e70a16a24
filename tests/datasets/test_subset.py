from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ssmtl.batch import Sample
from ssmtl.datasets.array_table import ArrayTable, Part
from ssmtl.datasets.base import Reader, Table, Traceable
from ssmtl.datasets.chest_phantom import ChestPhantom
from ssmtl.datasets.extend import Extend
from ssmtl.datasets.folders import ClassFolders, MaskFolder
from ssmtl.datasets.shapes_phantom import FIGURES, LABELS, ShapesPhantom
from ssmtl.datasets.stl10 import STL10
from ssmtl.datasets.subset import Subset
from ssmtl.datasets.wrapped import fit_of
from ssmtl.errors import DataError
from ssmtl.keyed import key, uniform
from ssmtl.task import BoxList

ANIMALS = ("bird", "cat", "deer", "dog", "frog", "horse")
VEHICLES = ("airplane", "automobile", "ship", "truck")
NAMES = tuple(sorted(ANIMALS + VEHICLES))


class Numbered(Reader):
    """`each` rows of every class of CIFAR-10, in turn, and `unlabeled` more; an image shows its row's number."""

    canvas: tuple[int, int] = (32, 32)
    channels: int = 3
    each: int = 8
    unlabeled: int = 0

    def classes(self, kind: str) -> tuple[str, ...]:
        return NAMES if kind == "label" else ()

    def open(self) -> Table:
        labels = np.array([*(row % 10 for row in range(10 * self.each)), *[-1] * self.unlabeled], np.int32)
        images = np.arange(len(labels), dtype=np.uint8)[:, None, None, None].repeat(3, 1).repeat(32, 2).repeat(32, 3)
        return ArrayTable((Part("rows", images),), labels, self.canvas, self.channels)


def kept(subset: Subset) -> list[int]:
    """Return the rows of a `Numbered` that a subset keeps."""
    table = subset.open()
    return [int(table.name(row).partition("/")[2]) for row in range(len(table))]


def refusal(subset: Subset) -> str:
    with pytest.raises(DataError) as caught:
        subset.open()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_classes_are_kept_by_name_and_in_order() -> None:
    subset = Subset(Numbered(), only=("horse", "bird"))
    table = subset.open()
    assert subset.classes("label") == ("horse", "bird")
    assert kept(subset) == [row for row in range(80) if NAMES[row % 10] in ("horse", "bird")]
    for row in range(len(table)):
        original = NAMES[int(table[row].image[0, 0, 0]) % 10]
        assert subset.classes("label")[table.labels()[row]] == original
        assert subset.classes("label")[table[row].annotations["label"]] == original
    assert table.annotated("label").all()
    assert table.labels().dtype == np.int32


def test_without_a_choice_all_is_as_it_was() -> None:
    inner = Numbered(unlabeled=3)
    table = Subset(inner).open()
    assert kept(Subset(inner)) == list(range(83))
    np.testing.assert_array_equal(table.labels(), inner.open().labels())
    assert table[82].annotations == {}
    assert not table.annotated("label")[80:].any()


def test_the_mismatch_study_takes_disjoint_parts_of_named_classes() -> None:
    inner = Numbered(each=8)
    labeled = Subset(inner, only=ANIMALS, stop=3)
    assert np.bincount(labeled.open().labels()).tolist() == [3] * 6
    for foreign in range(5):
        pool = Subset(inner, only=(*ANIMALS[2 + foreign :], *VEHICLES[:foreign]), start=3)
        shown = {NAMES[row % 10] for row in kept(pool)}
        assert len(shown) == 4
        assert len(shown & set(VEHICLES)) == foreign
        assert not set(kept(pool)) & set(kept(labeled))
        assert np.bincount(pool.open().labels()).tolist() == [5] * 4


@settings(max_examples=40, deadline=None)
@given(
    only=st.lists(st.sampled_from(NAMES), min_size=1, unique=True),
    cut=st.integers(1, 7),
    seed=st.integers(0, 2**63 - 1),
)
def test_parts_of_one_seed_are_disjoint_complete_nested_and_know_no_other_class(
    only: list[str], cut: int, seed: int
) -> None:
    inner = Numbered()
    first, rest = (
        set(kept(Subset(inner, only=tuple(only), seed=seed, **part))) for part in ({"stop": cut}, {"start": cut})
    )
    assert len(first) == cut * len(only)
    assert not first & rest
    assert first | rest == set(kept(Subset(inner, only=tuple(only))))
    assert first < set(kept(Subset(inner, only=tuple(only), seed=seed, stop=cut + 1)))
    alone = {name: set(kept(Subset(inner, only=(name,), seed=seed, stop=cut))) for name in only}
    assert first == set().union(*alone.values())
    assert first <= set(kept(Subset(inner, seed=seed, stop=cut)))


def test_a_row_is_drawn_by_its_class_and_number() -> None:
    rows = np.arange(NAMES.index("cat"), 80, 10)
    draws = uniform(key("subset", 3, "class", "cat"), rows, 1)[:, 0]
    expected = sorted(rows[np.argsort(draws)[2:5]].tolist())
    chosen = kept(Subset(Numbered(), only=("dog", "cat"), start=2, stop=5, seed=3))
    assert [row for row in chosen if row in rows] == expected


def test_seeds_choose_other_rows_and_classes_other_places() -> None:
    inner = Numbered(each=20)
    chosen = [kept(Subset(inner, only=("cat",), stop=10, seed=seed)) for seed in (0, 1)]
    assert chosen[0] != chosen[1]
    places = [[row // 10 for row in kept(Subset(inner, only=(name,), stop=10))] for name in NAMES]
    assert len({tuple(place) for place in places}) == 10


def test_a_range_of_all_rows_counts_the_unlabeled_too() -> None:
    inner = Numbered(each=4, unlabeled=40)
    subset = Subset(inner, stop=60, per_class=False)
    rest = Subset(inner, start=60, per_class=False)
    assert sorted([*kept(subset), *kept(rest)]) == list(range(80))
    assert 20 < (subset.open().labels() == -1).sum() < 40
    cats_and_dogs = Subset(inner, only=("cat", "dog"), stop=3, per_class=False)
    assert len(kept(cats_and_dogs)) == 3
    assert {NAMES[row % 10] for row in kept(cats_and_dogs)} <= {"cat", "dog"}
    assert (Subset(inner, stop=4).open().labels() >= 0).all()
    assert len(kept(Subset(inner, stop=4))) == 40


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"only": ("cat", "dog"), "stop": 9},
            "Numbered has 8 row(s) of the class 'cat', but the Subset keeps rows 0 to 9",
        ),
        ({"start": 9}, "has 8 row(s) of the class 'airplane', but the Subset keeps rows 9 to the last of every class"),
        ({"stop": 81, "per_class": False}, "has 80 row(s) of the whole set"),
        ({"only": ("cat", "dog"), "stop": 17, "per_class": False}, "has 16 row(s) of the kept classes together"),
        ({"start": 8}, "has 8 row(s) of the class 'airplane', but the Subset keeps rows 8 to the last of every class"),
        ({"start": 80, "per_class": False}, "has 80 row(s) of the whole set"),
    ],
)
def test_more_rows_than_there_are_are_refused(fields: dict[str, Any], expected: str) -> None:
    assert expected in refusal(Subset(Numbered(), **fields))


def test_a_class_without_a_row_is_refused_when_it_is_named() -> None:
    inner = Numbered(each=0, unlabeled=5)
    assert "has 0 row(s) of the class 'cat'" in refusal(Subset(inner, only=("cat",)))
    assert len(kept(Subset(inner))) == 5


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"only": ("cat", "autmobile")}, "Numbered has no class 'autmobile' to keep; did you mean 'automobile'?"),
        ({"only": ("cat", "cat")}, "each class may stand in `only` once"),
        ({"only": ()}, "at least 1 item"),
        ({"start": 4, "stop": 4}, "from start=4 to stop=4 is empty"),
        ({"start": -1}, "greater than or equal to 0"),
        (
            {"canvas": (64, 64)},
            "whose canvas is (32, 32), got canvas=(64, 64); leave it out, or set it in the Numbered",
        ),
        ({"channels": 1}, "whose channels is 3, got channels=1"),
    ],
)
def test_wrong_subsets_are_refused_when_they_are_built(fields: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Subset(Numbered(), **fields)
    assert expected in str(caught.value)


def test_canvas_and_channels_are_those_inside(tmp_path: Path) -> None:
    for inner in (STL10(tmp_path), ChestPhantom(canvas=(40, 48)), STL10(tmp_path, canvas=(24, 32), channels=1)):
        subset = Subset(inner, stop=3)
        assert (subset.canvas, subset.channels) == (inner.canvas, inner.channels)
        assert subset == Subset(inner, stop=3, canvas=inner.canvas)
        assert hash(subset) == hash(Subset(inner, stop=3, channels=inner.channels))
        assert Reader.model_validate_json(subset.model_dump_json()) == subset
        assert subset.replace(stop=5).canvas == inner.canvas
        twice = Subset(subset, start=1)
        assert twice.canvas == inner.canvas
        assert Reader.model_validate_json(twice.model_dump_json()) == twice
    with pytest.raises(ValidationError, match="frozen"):
        subset.canvas = (8, 8)


def test_json_without_a_canvas_takes_the_one_inside() -> None:
    fields = Subset(ChestPhantom(canvas=(40, 48))).model_dump()
    del fields["canvas"]
    assert Reader.model_validate(fields).canvas == (40, 48)


def test_folders_keep_their_names_patients_and_files(class_folders: Path) -> None:
    inner = ClassFolders(class_folders, holdout=0, canvas=(8, 8))
    table, whole = Subset(inner, only=("PNEUMONIA",)).open(), inner.open()
    assert (len(table), table.labels().tolist()) == (10, [0] * 10)
    assert isinstance(table, Traceable)
    assert not table.in_memory
    for row in range(10):
        origin = next(place for place in range(20) if whole.name(place) == table.name(row))
        assert table.patients()[row] == whole.patients()[origin]
        assert table.made_of(row, "label") == whole.made_of(origin, "label")
        assert (table[row].image == 200).all()
        assert table[row].annotations == {"label": 0}
    assert Subset(Numbered(), stop=1).open().in_memory
    assert Subset(Numbered(), stop=1).open().patients() is None


@pytest.mark.parametrize("part", [{"stop": 3}, {"start": 3}, {"stop": 3, "per_class": False}])
def test_patients_are_never_parted(class_folders: Path, part: dict[str, Any]) -> None:
    """Two films show each patient: any range could have one of them, and another range the other."""
    inner = ClassFolders(class_folders, holdout=0, canvas=(8, 8))
    message = refusal(Subset(inner, **part))
    assert "2 rows of ClassFolders belong together ('" in message
    assert "hold whole patients out with the reader's own `holdout`" in message
    assert len(Subset(inner, only=("NORMAL",)).open()) == 10


def test_copies_of_an_image_are_never_parted() -> None:
    shapes = ShapesPhantom(samples=100)
    copies = Extend(reader=shapes, rounds=5)
    for part in ({"stop": 10}, {"start": 10}):
        message = refusal(Subset(copies, **part))
        assert "5 rows of Extend belong together ('" in message
        assert "put the Subset inside an Extend instead of around it" in message
    first, rest = (Extend(reader=Subset(shapes, **part), rounds=5).open() for part in ({"stop": 4}, {"start": 4}))
    assert not set(first.patients()) & set(rest.patients())
    assert len(Subset(copies, only=FIGURES).open()) == 5 * 60
    assert len(Subset(Extend(reader=shapes, rounds=1), stop=4).open()) == 40


def test_patients_of_classes_that_are_not_kept_may_be_several(
    tmp_path: Path, write_image: Callable[..., Path], write_csv: Callable[..., None]
) -> None:
    films = [("cat", "one"), ("cat", "one"), ("dog", "two"), ("dog", "three")]
    rows = [(f"train/{name}/{n}.png", "train", name, patient) for n, (name, patient) in enumerate(films)]
    for path, *_ in rows:
        write_image(tmp_path / path)
    write_csv(tmp_path / "labels.csv", ("path", "split", "label", "patient_id"), rows)
    inner = ClassFolders(tmp_path, names=("cat", "dog"), holdout=0, canvas=(8, 8))
    assert len(Subset(inner, only=("dog",), stop=1).open()) == 1
    for only in (("cat",), ("dog", "cat"), None):
        assert "2 rows of ClassFolders belong together ('one')" in refusal(Subset(inner, only=only, stop=1))


def test_no_class_is_lost_unnoticed() -> None:
    """105 phantoms have 11 of five classes and 10 of the others, of which the rows from 10 on are none."""
    shapes = ShapesPhantom(samples=105)
    counts = np.bincount(shapes.open().labels())
    few, many = (tuple(LABELS[index] for index in np.flatnonzero(counts == count)) for count in (10, 11))
    assert (len(few), len(many)) == (5, 5)
    message = refusal(Subset(shapes, start=10))
    assert f"has 10 row(s) of the class '{few[0]}', but the Subset keeps rows 10 to the last of every cl" in message
    assert np.bincount(Subset(shapes, only=many, start=10).open().labels()).tolist() == [1] * 5


def test_a_new_image_comes_to_the_canvas_as_inside(tmp_path: Path) -> None:
    for fit in ("pad", "stretch"):
        inner = ClassFolders(tmp_path, fit=fit)
        assert [fit_of(reader) for reader in (inner, Subset(inner), Subset(Subset(inner)))] == [fit] * 3
    assert fit_of(Subset(Numbered())) == "stretch"


def test_a_set_without_labels_has_rows_but_no_classes(mask_folder: Path) -> None:
    inner = MaskFolder(mask_folder, canvas=(8, 8), split="all")
    table = Subset(inner, stop=2, per_class=False).open()
    assert len(table) == 2
    assert table.labels() is None
    assert set(table[0].annotations) == {"mask"}
    assert Subset(inner).classes("mask") == ("background", "lung")
    assert "MaskFolder has no classes, but the Subset keeps rows 0 to 2 of every class" in refusal(
        Subset(inner, stop=2)
    )
    with pytest.raises(ValidationError, match="MaskFolder has no class 'lung' to keep"):
        Subset(inner, only=("lung",))


@dataclass(frozen=True)
class Plain:
    """A table that doesn't say what its rows are made of."""

    annotation: Any

    def __len__(self) -> int:
        return 2

    def __getitem__(self, row: int) -> Sample:
        image = np.full((1, 8, 8), row, np.uint8)
        return Sample(self.name(row), image, (8, 8), (8, 8), {"kind": self.annotation})

    def name(self, row: int) -> str:
        return f"row {row}"

    def annotated(self, kind: str) -> np.ndarray:
        return np.full(2, kind == "kind")

    def labels(self, kind: str = "label") -> None:
        return None

    def patients(self) -> None:
        return None


class Untraceable(Reader):
    canvas: tuple[int, int] = (8, 8)
    make: int = 0

    def classes(self, kind: str) -> tuple[str, ...]:
        return ()

    def open(self) -> Table:
        boxes = BoxList(np.float32([[1, 2, 3, 4]]), np.array([5]), np.array([True]))
        return Plain([7, np.uint8([[8, 9]]), boxes][self.make])


@pytest.mark.parametrize(
    ("make", "content"),
    [
        (0, b"7"),
        (1, b"\x08\x09"),
        (2, np.float32([1, 2, 3, 4]).tobytes() + np.array([5]).tobytes() + b"\x01"),
    ],
)
def test_rows_of_a_table_that_does_not_trace_count_by_their_arrays(make: int, content: bytes) -> None:
    table = Subset(Untraceable(make=make), start=1, per_class=False).open()
    row = int(table[0].image[0, 0, 0])
    assert table.made_of(0, "kind") == (bytes([row]) * 64, content)


def test_a_subset_of_real_films_is_a_source(tmp_path: Path, write_image: Callable[..., Path]) -> None:
    for name in ("cat", "dog", "ship"):
        for number in range(3):
            write_image(tmp_path / f"train/{name}/{number}.png", 10 * number)
    inner = ClassFolders(tmp_path, names=("ship", "dog", "cat"), holdout=0, canvas=(8, 8))
    subset = Subset(inner, only=("cat", "ship"), stop=2)
    table = subset.open()
    assert [table.name(row).split("/")[1] for row in range(4)] == ["ship", "ship", "cat", "cat"]
    assert table.labels().tolist() == [1, 1, 0, 0]
