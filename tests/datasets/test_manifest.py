"""The reader of a table of one's own: what samples hold, what it refuses, and where it may look."""

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import ValidationError

from ssmtl.datasets.base import Fingerprinted, Table, Traceable
from ssmtl.datasets.manifest import Manifest
from ssmtl.errors import DataError
from ssmtl.loader import open_sources, training_loader
from ssmtl.manifests.classes import write_classes
from ssmtl.manifests.stamp import write_stamp
from ssmtl.models.multitask import Model
from ssmtl.models.timm_encoder import TimmEncoder
from ssmtl.objective import Objective
from ssmtl.recipe import Recipe, Source
from ssmtl.strategies.supervised import Supervised
from ssmtl.streams import Implicit
from ssmtl_tasks.classification import Classification

Rows = list[dict[str, Any]]
Write = Callable[..., Manifest]
CLASSES = {
    "label:sex": ("female", "male"),
    "label:view": ("front", "side"),
    "labels": ("cough", "fever", "rash"),
    "mask": ("background", "lung"),
    "boxes": ("car", "dog"),
}
FULL = {
    "image": "a.png",
    "label:sex": "male",
    "label:view": "front",
    "labels": ["rash", "cough"],
    "mask": "m.png",
    "boxes": [{"class": "dog", "box": [2, 1, 6.5, 99]}],
    "split": "train",
    "source": "north",
    "group": "p1",
}
ROWS: Rows = [
    FULL,
    {"image": "b.png", "labels": [], "boxes": [], "split": "train", "source": "south", "group": "p1"},
    {"image": "c.png", "label:sex": "female", "split": "train", "source": "south"},
    {"image": "d.png", "label:view": "side", "split": "val", "source": "north", "group": "p2"},
    {"image": "e.png", "source": "north", "group": "p3"},
]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write images, a mask and a table of rows; return its reader on a canvas of 16 by 32, or what `fields` say."""
    root = tmp_path / "data"
    root.mkdir()
    for name in "abcde":
        Image.fromarray(np.full((8, 16), ord(name), dtype=np.uint8)).save(root / f"{name}.png")
    mask = np.zeros((8, 16), dtype=np.uint8)
    mask[:, 8:], mask[0, 0] = 1, 255
    Image.fromarray(mask).save(root / "m.png")

    def _write(rows: Rows = ROWS, suffix: str = ".csv", **fields: Any) -> Manifest:
        path = root / {".csv": "own.csv"}.get(suffix, f"other{suffix}")
        table(path, rows)
        columns = {name for row in rows for name in row}
        write_classes(path, {kind: names for kind, names in CLASSES.items() if kind in columns})
        write_stamp(path, len(rows))
        return Manifest.of(path, **{"canvas": (16, 32), "channels": 1, **fields})

    return _write


def table(path: Path, rows: Rows) -> None:
    """Write rows as each kind of file has them: texts in CSV, lists and objects in JSONL and Parquet."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), path)
    else:
        cells = [[row.get(name) for name in names] for row in rows]
        texts = [[cell if cell is None or isinstance(cell, str) else json.dumps(cell) for cell in row] for row in cells]
        lines = [",".join('"{}"'.format((cell or "").replace('"', '""')) for cell in row) for row in [names, *texts]]
        path.write_text("\n".join(lines) + "\n")


def test_a_full_row_has_every_annotation(write: Write) -> None:
    opened = write().open()
    sample = opened[0]
    assert (sample.name, sample.size, sample.source_size) == ("a.png", (16, 32), (8, 16))
    assert sample.image.shape == (1, 16, 32)
    assert (sample.image == ord("a")).all()
    found = sample.annotations
    assert (found["label:sex"], found["label:view"]) == (1, 0)
    np.testing.assert_array_equal(found["labels"], np.array([1, 0, 1], dtype=np.uint8), strict=True)
    mask = found["mask"]
    assert mask.dtype == np.uint8
    assert (mask[:2, :2] == 255).all()
    assert (mask[:, 16:] == 1).all()
    assert (mask[2:, :16] == 0).all()
    boxes = found["boxes"]
    np.testing.assert_array_equal(boxes.xyxy, [[4.0, 2.0, 13.0, 16.0]])
    assert boxes.labels.tolist() == [1]
    assert not boxes.crowd.any()


def test_an_empty_cell_is_not_labeled_and_an_empty_list_is(write: Write) -> None:
    opened = write().open()
    assert set(opened[1].annotations) == {"labels", "boxes"}
    assert opened[1].annotations["labels"].tolist() == [0, 0, 0]
    assert len(opened[1].annotations["boxes"]) == 0
    assert set(opened[2].annotations) == {"label:sex"}
    for kind in CLASSES:
        expected = [kind in opened[row].annotations for row in range(len(opened))]
        assert opened.annotated(kind).tolist() == expected
        assert opened.annotated(kind).dtype == np.bool_
    assert not opened.annotated("depth").any()


def test_two_columns_of_labels_are_two_tasks(write: Write) -> None:
    reader = write(split="all")
    opened = reader.open()
    assert opened.labels("label:sex").tolist() == [1, -1, 0, -1, -1]
    assert opened.labels("label:view").tolist() == [0, -1, -1, 1, -1]
    assert opened.labels("label:sex").dtype == np.int32
    assert opened.labels() is None
    assert opened.labels("labels") is None
    assert reader.classes("label:view") == ("front", "side")
    assert reader.classes("label") == ()


def test_splits_and_sources_choose_rows(write: Write) -> None:
    reader = write()
    names = {split: [table.name(row) for row in range(len(table))] for split, table in _opened(reader).items()}
    assert names == {"train": ["a.png", "b.png", "c.png"], "val": ["d.png"], "all": [f"{k}.png" for k in "abcde"]}
    south = reader.replace(sources=("south",)).open()
    assert [south.name(row) for row in range(len(south))] == ["b.png", "c.png"]
    assert south.labels("label:sex").tolist() == [-1, 0]
    assert south[1].image[0, 0, 0] == ord("c")
    with pytest.raises(DataError, match=r"no row of split='test'.*ssmtl data split"):
        reader.replace(split="test").open()
    with pytest.raises(DataError, match=r"no row of the source 'nroth'.*did you mean 'north'"):
        reader.replace(sources=("nroth",)).open()


def _opened(reader: Manifest) -> dict[str, Table]:
    return {split: reader.replace(split=split).open() for split in ("train", "val", "all")}


def test_a_row_without_a_group_is_its_own(write: Write) -> None:
    assert write().open().patients() == ("p1", "p1", "c.png")
    rows = [{name: value for name, value in row.items() if name != "group"} for row in ROWS]
    assert write(rows).open().patients() is None


def test_groups_are_those_of_the_table_that_was_opened(write: Write) -> None:
    opened = write().open()
    write([{**row, "group": "other"} for row in reversed(ROWS)])
    with pytest.raises(DataError, match=r"own\.csv has changed since it was opened"):
        opened.patients()


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_csv_jsonl_and_parquet_hold_the_same(write: Write, suffix: str) -> None:
    first, second = write(split="all").open(), write(suffix=suffix, split="all").open()
    assert second.path.suffix == suffix
    assert first.patients() == second.patients()
    for row in range(len(ROWS)):
        one, other = first[row], second[row]
        assert one.name == other.name
        assert set(one.annotations) == set(other.annotations)
        for kind, annotation in one.annotations.items():
            assert pickle.dumps(annotation) == pickle.dumps(other.annotations[kind])
            assert first.made_of(row, kind) == second.made_of(row, kind)


def test_a_column_that_nobody_filled_is_fine(write: Write) -> None:
    opened = write([{"image": "a.png", "label:sex": None, "mask": None, "split": "train"}]).open()
    assert opened[0].annotations == {}
    assert opened.labels("label:sex").tolist() == [-1]


def test_what_labels_are_made_of(write: Write) -> None:
    opened = write().open()
    root = opened.places.root
    assert isinstance(opened, Traceable)
    assert opened.made_of(0, "mask") == (root / "a.png", root / "m.png")
    assert opened.made_of(0, "label:sex") == (root / "a.png", b"male")
    assert opened.made_of(0, "labels") == (root / "a.png", b"cough|rash")
    assert opened.made_of(0, "boxes")[1] != opened.made_of(1, "boxes")[1]
    assert opened.made_of(2, "boxes") == (root / "c.png",)


def test_hashes_are_read_where_a_split_wrote_them(write: Write) -> None:
    assert write().open().fingerprints() is None
    rows = [{**row, "sha256": f"{place:064x}"} for place, row in enumerate(ROWS)]
    opened = write(rows, sources=("south",)).open()
    assert isinstance(opened, Fingerprinted)
    found = opened.fingerprints()
    assert found.sha256.shape == (2, 4)
    assert [int(row[3]) >> 56 for row in found.sha256] == [1, 2]


def test_a_table_survives_pickling(write: Write) -> None:
    opened = write().open()
    copy = pickle.loads(pickle.dumps(opened))
    assert len(copy) == 3
    assert copy[0].annotations["mask"].tolist() == opened[0].annotations["mask"].tolist()


def test_a_reader_is_a_value_that_looks_at_nothing(write: Write, tmp_path: Path) -> None:
    reader = write()
    assert Manifest.model_validate_json(reader.model_dump_json()) == reader
    assert Manifest(tmp_path / "nowhere", named=(("label", ("a", "b")),)).classes("label") == ("a", "b")
    for named in (
        (("label", ("a",)), ("label", ("b",))),
        (("lable", ("a",)),),
        (("split", ("a",)),),
        (("label", ("a", "a")),),
        (("mask", ()),),
    ):
        with pytest.raises(ValidationError, match="named"):
            Manifest(tmp_path, named=named)


def test_two_columns_train_two_tasks_from_worker_processes(write: Write) -> None:
    reader = write(channels=3)
    tasks = {
        "view": Classification("view", column="view", classes=("front", "side")),
        "sex": Classification("sex", column="sex", classes=("male", "female")),
    }
    sources = open_sources(
        Recipe(
            name="own",
            objectives=tuple(Objective(task, Supervised()) for task in tasks.values()),
            sources=(Source("own", reader.replace(split="all"), serves=tuple(tasks)),),
            model=Model(TimmEncoder("resnet18"), channels=3),
            streams=Implicit(batch=5),
        )
    )
    (batch,) = training_loader(sources, start=0, stop=1, rank=0, world=1, workers=1, pin=False)
    names = np.array(batch.names)
    assert set(names[batch.labeled["view"].numpy()]) == {"a.png", "d.png"}
    assert set(names[batch.labeled["sex"].numpy()]) == {"a.png", "c.png"}


def test_only_the_columns_asked_for_are_read(write: Write) -> None:
    reader = write(named=(("label:sex", ("female", "male")),))
    assert reader.open()[0].annotations == {"label:sex": 1}
    with pytest.raises(DataError, match=r"no column 'label:sx'.*did you mean 'label:sex'"):
        write(named=(("label:sx", ("female", "male")),)).open()


def test_a_manifest_without_splits_or_sources(write: Write) -> None:
    rows = [{"image": "a.png", "label:sex": "male"}]
    assert len(write(rows, split="all").open()) == 1
    with pytest.raises(DataError, match=r"no column 'split'.*split='all'"):
        write(rows).open()
    with pytest.raises(DataError, match="no column 'source'"):
        write(rows, split="all", sources=("north",)).open()


def test_training_needs_the_stamp_of_this_very_table(write: Write) -> None:
    reader = write()
    path = reader.root / reader.file
    path.write_text(path.read_text().replace("female", "male"))
    with pytest.raises(DataError, match=r"own\.csv has changed since it was checked; run `ssmtl data check"):
        reader.open()
    path.with_name("own.checked.json").unlink()
    with pytest.raises(DataError, match="has not been checked"):
        reader.open()


def test_an_unknown_class_is_refused_with_its_line(write: Write) -> None:
    reader = write(split="all").replace(named=(("label:sex", ("female", "other")),))
    with pytest.raises(DataError, match=r"own\.csv line 2 has the class 'male'.*did you mean 'female'"):
        reader.open()
    reader = write().replace(named=(("labels", ("cough", "fever")),))
    with pytest.raises(DataError, match=r"own\.csv line 2, image a\.png: it has the class 'rash'"):
        reader.open()[0]
    reader = write().replace(named=(("boxes", ("car", "dogs")),))
    with pytest.raises(DataError, match=r"line 2, image a\.png: it has the class 'dog'.*did you mean 'dogs'"):
        reader.open()[0]


def test_what_does_not_fit_its_image_is_refused_with_its_line(write: Write) -> None:
    root = write().root
    Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(root / "small.png")
    Image.fromarray(np.full((8, 16), 2, dtype=np.uint8)).save(root / "two.png")
    rows = [
        {"image": "a.png", "mask": "small.png", "split": "train"},
        {"image": "b.png", "mask": "two.png", "split": "train"},
        {"image": "c.png", "boxes": [{"class": "dog", "box": [20, 0, 30, 5]}], "split": "train"},
        {"image": "gone.png", "split": "train"},
    ]
    opened = write(rows).open()
    for row, said in enumerate(("is 4x4 pixels, but its image a.png is 16x8", "unknown value 2", "box", "missing")):
        with pytest.raises(DataError, match=rf"own\.csv line {row + 2}, image .*{said}"):
            opened[row]


def test_a_row_without_an_image_is_refused(write: Write) -> None:
    with pytest.raises(DataError, match=r"own\.csv line 3 names no image"):
        write([{"image": "a.png", "split": "train"}, {"image": None, "split": "train"}]).open()


def test_boxes_of_a_coco_file_go_by_the_name_of_the_image(write: Write) -> None:
    root = write().root
    coco = {
        "images": [{"id": 7, "file_name": "b.png", "height": 8, "width": 16}, {"id": 9, "file_name": "a.png"}],
        "categories": [{"id": 3, "name": "dog"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [2, 1, 4, 3], "iscrowd": 1}],
    }
    (root / "coco.json").write_text(json.dumps(coco))
    inline = [{"class": "car", "box": [0, 0, 1, 1]}]
    rows = [{"image": f"{name}.png", "boxes": "coco.json", "split": "train"} for name in "abc"]
    opened = write([*rows, {"image": "d.png", "boxes": inline, "split": "train"}]).open()
    assert len(opened[0].annotations["boxes"]) == 0
    boxes = opened[1].annotations["boxes"]
    np.testing.assert_array_equal(boxes.xyxy, [[4.0, 2.0, 12.0, 8.0]])
    assert (boxes.labels.tolist(), boxes.crowd.tolist()) == ([1], [True])
    assert opened[3].annotations["boxes"].labels.tolist() == [0]
    assert opened.annotated("boxes").all()
    with pytest.raises(DataError, match=r"line 4, image c\.png: .*coco\.json doesn't list the image"):
        opened[2]
    assert opened.made_of(0, "boxes") != opened.made_of(1, "boxes")


def test_one_coco_entry_is_not_for_two_images(write: Write) -> None:
    root = write().root
    coco = {"images": [{"id": 1, "file_name": "a.png"}], "categories": [], "annotations": []}
    (root / "coco.json").write_text(json.dumps(coco))
    rows = [{"image": name, "boxes": "coco.json", "split": "train"} for name in ("a.png", "more/a.png")]
    with pytest.raises(DataError, match=r"one entry for a\.png, but several rows"):
        write(rows).open()


def test_paths_may_not_leave_the_folder_unless_allowed(write: Write, tmp_path: Path) -> None:
    root = write().root
    outside = tmp_path / "outside.png"
    Image.fromarray(np.full((8, 16), 7, dtype=np.uint8)).save(outside)
    (root / "link.png").symlink_to(outside)
    (root / "loop.png").symlink_to(root / "loop.png")
    cells = ["../outside.png", str(outside), "link.png", str(root / "a.png")]
    reader = write([{"image": cell, "split": "train"} for cell in [*cells, "loop.png"]])
    opened, allowed = reader.open(), reader.replace(allow_outside=True).open()
    for row in range(3):
        with pytest.raises(DataError, match=rf"line {row + 2}.* leads out of .*allow_outside=True"):
            opened[row]
        assert (allowed[row].image == 7).all()
    assert (opened[3].image == ord("a")).all()
    with pytest.raises(DataError, match="line 6"):
        opened[4]


def test_nothing_is_fetched_unasked_and_only_once(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = write().root
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/bucket/b.png", (root / "b.png").read_bytes())
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.write(root / "c.png", "in/c.png")
        archive.write(root / "m.png", "in/m.png")
    inside = f"::file://{tmp_path}/c.zip"
    rows = [
        {"image": "memory://bucket/b.png", "split": "train"},
        {"image": f"zip://in/c.png{inside}", "mask": f"zip://in/m.png{inside}", "split": "train"},
        {"image": "memory://bucket/gone.png", "split": "train"},
        {"image": "nonsense://user:secret@host/x.png", "split": "train"},
    ]
    reader = write(rows)
    with pytest.raises(DataError, match=r"line 2, .*nothing is fetched unasked; set remote=True"):
        reader.open()[0]
    assert not (tmp_path / "cache").exists()
    opened = reader.replace(remote=True).open()
    assert (opened[0].image == ord("b")).all()
    memory.rm("/bucket/b.png")
    assert (opened[0].image == ord("b")).all()
    sample = opened[1]
    assert (sample.image == ord("c")).all()
    assert (sample.annotations["mask"][:, 16:] == 1).all()
    with pytest.raises(DataError, match=r"memory://bucket/gone\.png is not there"):
        opened[2]
    with pytest.raises(DataError, match=r"nonsense://\.\.\.@host/x\.png can't be fetched"):
        opened[3]
    kept = [entry for entry in (tmp_path / "cache/ssmtl/remote").iterdir() if not entry.name.startswith(".")]
    assert len(kept) == len(os.listdir(tmp_path / "cache/ssmtl/remote")) == 3
