"""`labels.json`: what it says of a run's labels, and that another machine gets exactly those, or one sentence."""

import hashlib
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from films import write_films
from golden import ROOT
from PIL import Image
from rich.console import Console

from ssmtl import label_record
from ssmtl.batch import Sample
from ssmtl.budget import LabelBudget
from ssmtl.commands.recipes import load_recipe
from ssmtl.datasets.box_columns import BoxColumns
from ssmtl.datasets.chest_phantom import PhantomTable
from ssmtl.errors import DataError
from ssmtl.label_record import keep_labels, read_record, take_stock
from ssmtl.loader import open_sources
from ssmtl.task import BoxList

STUDY = load_recipe(ROOT / "recipes/multimix_cxr.py")
QUIET = Console(quiet=True)


@pytest.fixture
def films(tmp_path):
    return write_films(tmp_path / "films")


def study(films, **changes):
    arguments = {"data": films, "size": 32, "diagnosis_labels": 8, "lung_labels": 4, **changes}
    return STUDY(**arguments)


def keep(recipe, path, *, resume=False):
    sources = open_sources(recipe)
    keep_labels(path, recipe, sources.tables, sources.coverage, resume=resume, console=QUIET)
    return sources


def stock(sources):
    tables = dict(zip(sources.coverage.sources, sources.tables, strict=True))
    return take_stock(sources.recipe, tables, sources.coverage, QUIET)


def names_of(sources, task):
    coverage = sources.coverage
    return {
        (source, table.name(row))
        for source, table in zip(coverage.sources, sources.tables, strict=True)
        for row in np.flatnonzero(coverage.visible[task][coverage.rows(source)])
    }


def a_labeled_film(films, path):
    """Return the first lung film in a record, and its file."""
    name = next(iter(read_record(path).labels["lungs"]["lung films"]))
    return name, films / "cxr/segmentation/images" / name.rsplit("/", 1)[-1]


def repaint(file):
    Image.fromarray(255 - np.asarray(Image.open(file))).save(file)


def test_it_names_what_is_visible_and_nothing_else(films, tmp_path):
    sources = keep(study(films), tmp_path / "labels.json")
    found = json.loads((tmp_path / "labels.json").read_text())
    assert found["counts"] == {"diagnosis": 8, "lungs": 4}
    assert found["budget"]["seed"] == 0
    assert found["budget"]["rule"] == "nested"
    assert found["compared"] == "names and content"
    for task in found["counts"]:
        listed = {(source, name) for source, rows in found["labels"][task].items() for name in rows}
        assert listed == names_of(sources, task)


def test_a_hash_is_that_of_the_files(films, tmp_path):
    keep(study(films), tmp_path / "labels.json")
    name, file = a_labeled_film(films, tmp_path / "labels.json")
    mask = file.parent.parent / "masks" / file.name
    parts = b"".join(hashlib.sha256(path.read_bytes()).digest() for path in (file, mask))
    hashes = read_record(tmp_path / "labels.json").labels["lungs"]["lung films"]
    assert hashes[name] == hashlib.sha256(parts).hexdigest()


def test_hashes_survive_another_canvas_and_follow_every_label(films):
    one, other = (stock(open_sources(study(films, size=size))) for size in (32, 64))
    assert one.sha256 == other.sha256
    assert stock(open_sources(study(films, seed=1))).sha256 != one.sha256


def test_a_resumed_run_keeps_its_record_and_notices_changed_data(films, tmp_path):
    path = tmp_path / "labels.json"
    keep(study(films), path)
    before = path.stat().st_mtime_ns
    keep(study(films), path, resume=True)
    assert path.stat().st_mtime_ns == before
    name, file = a_labeled_film(films, path)
    repaint(file)
    says = f"label of 'lungs' for {name} of the source 'lung films' or its image changed since {path} was written; "
    with pytest.raises(DataError, match=says + "restore the data, or start a new run."):
        keep(study(films), path, resume=True)
    keep(study(films), path)
    assert path.stat().st_mtime_ns != before


def test_a_resumed_run_notices_that_other_labels_are_visible(films, tmp_path):
    path = tmp_path / "labels.json"
    keep(study(films), path)
    with pytest.raises(DataError, match=r"is visible (now, but not in|in .*, but not now)"):
        keep(study(films, lung_labels=3), path, resume=True)


def test_a_budget_from_a_record_shows_exactly_its_labels(films, tmp_path):
    path = tmp_path / "labels.json"
    first = keep(study(films, seed=3), path)
    other = study(films, seed=0).replace(budget=LabelBudget(record=path))
    second = keep(other, tmp_path / "again.json")
    for task in ("diagnosis", "lungs"):
        assert names_of(first, task) == names_of(second, task)
        assert np.array_equal(first.coverage.visible[task], second.coverage.visible[task])
    assert read_record(path).sha256 == read_record(tmp_path / "again.json").sha256


def test_a_recipe_of_one_task_takes_its_part_of_a_record(films, tmp_path):
    first = keep(study(films, seed=3), tmp_path / "labels.json")
    alone = study(films, method="u-net").replace(budget=LabelBudget(record=tmp_path / "labels.json"))
    assert names_of(keep(alone, tmp_path / "again.json"), "lungs") == names_of(first, "lungs")


def test_a_record_refuses_other_contents_and_names_the_sample(films, tmp_path):
    path = tmp_path / "labels.json"
    keep(study(films), path)
    name, file = a_labeled_film(films, path)
    repaint(file)
    with pytest.raises(DataError, match=f"for {name} of the source 'lung films' or its image changed since"):
        keep(study(films).replace(budget=LabelBudget(record=path)), tmp_path / "again.json")
    assert not (tmp_path / "again.json").exists()


def _lose_a_film(films, path):
    _, file = a_labeled_film(films, path)
    (file.parent.parent / "masks" / file.name).unlink()
    file.unlink()
    for listing in (films / "cxr/segmentation").glob("*.txt"):
        listing.write_text("\n".join(stem for stem in listing.read_text().split() if stem != file.stem))


def _edit(change):
    def spoil(films, path):
        found = json.loads(path.read_text())
        change(found)
        path.write_text(json.dumps(found))

    return spoil


def _rewrite(change):
    """Change the labels and their hash: a record of another study."""

    def spoil(films, path):
        found = read_record(path)
        labels = change(found.labels)
        found.model_copy(update={"labels": labels, "sha256": label_record._digest_of_all(labels)}).write(path)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_lose_a_film, r"shows the label of 'lungs' for .*, but the source 'lung films' has none of it \(1 such\)"),
        (lambda films, path: path.unlink(), r"label record .*labels.json can't be read \(No such file or directory\)"),
        (lambda films, path: path.write_text(path.read_text()[:99]), "is no label record"),
        (lambda films, path: path.write_text("[]"), "is no label record"),
        (_edit(lambda found: found.update(format=2)), "is no label record .*format"),
        (_edit(lambda found: found["labels"]["lungs"]["lung films"].popitem()), "was changed after it was written"),
        (_rewrite(lambda labels: {"lung": labels["lungs"]}), "holds no labels of the task 'diagnosis'; known: lung"),
        (
            _rewrite(lambda labels: {**labels, "lungs": {"lungfilms": labels["lungs"]["lung films"]}}),
            r"labels of the source 'lungfilms'; did you mean 'lung films'\?",
        ),
    ],
)
def test_a_record_that_cannot_be_followed_is_refused(spoil, says, films, tmp_path):
    path = tmp_path / "labels.json"
    keep(study(films), path)
    spoil(films, path)
    with pytest.raises(DataError, match=says):
        open_sources(study(films).replace(budget=LabelBudget(record=path)))


def test_phantoms_are_hashed_without_drawing_one(monkeypatch):
    monkeypatch.setattr(PhantomTable, "film", lambda *_: pytest.fail("drawn"))
    one, other = (stock(open_sources(study(None, seed=seed))) for seed in (0, 0))
    assert one == other
    assert len(set(one.labels["lungs"]["lung films"].values())) == 4


class Drawn:
    """A table that can't say what it is made of."""

    def __init__(self, level=0, box=0.0):
        self.image = np.full((1, 8, 8), level, np.uint8)
        boxes = np.array([[box, 0, 4, 4]], np.float32)
        self.boxes = BoxList(boxes, np.zeros(1, np.int64), np.zeros(1, np.bool_))

    def __getitem__(self, row):
        return Sample("a", self.image, (8, 8), (8, 8), {"boxes": self.boxes, "label": 1})


def test_other_tables_are_hashed_by_their_decoded_arrays():
    def digest(table, kind):
        return label_record._digests([(table, label_record._Label("t", "s", 0, kind))], QUIET)[0]

    assert digest(Drawn(), "boxes") == digest(Drawn(), "boxes")
    assert len({digest(table, "boxes") for table in (Drawn(), Drawn(level=1), Drawn(box=1.0))}) == 3
    assert digest(Drawn(), "label") == digest(Drawn(box=1.0), "label")


def test_boxes_of_a_shared_file_count_for_their_own_row():
    boxes = BoxColumns(
        path=ROOT / "instances.json",
        xyxy=np.array([[0, 0, 4, 4], [1, 1, 5, 5], [2, 2, 6, 6]], np.float64),
        labels=np.zeros(3, np.int16),
        crowd=np.zeros(3, np.bool_),
        starts=np.array([0, 1, 3]),
        listed=np.ones(2, np.bool_),
        sizes=np.zeros((2, 2), np.int32),
    )
    moved = replace(boxes, xyxy=boxes.xyxy + np.array([[0.0], [0.0], [1.0]]))
    assert boxes.made_of(0) == moved.made_of(0)
    assert boxes.made_of(1) != moved.made_of(1)


def test_very_many_labels_are_kept_by_name_only(films, tmp_path, monkeypatch):
    path = tmp_path / "labels.json"
    monkeypatch.setattr(label_record, "MOST_HASHED", 11)
    keep(study(films), path)
    found = read_record(path)
    assert found.compared == "names"
    assert set(found.labels["lungs"]["lung films"].values()) == {""}
    repaint(a_labeled_film(films, path)[1])
    keep(study(films), path, resume=True)
    with pytest.raises(DataError, match="'lungs' for"):
        keep(study(films, lung_labels=5), path, resume=True)


@pytest.mark.parametrize("patience", [-1.0, 100.0])
def test_a_bar_shows_only_when_hashing_takes_long(patience, monkeypatch):
    monkeypatch.setattr(label_record, "PATIENCE", patience)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True)
    assert list(label_record._watched(range(3), 3, "hashing labels", console)) == [0, 1, 2]
    assert ("hashing labels" in screen.getvalue()) == (patience < 0)
