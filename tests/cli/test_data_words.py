"""`ssmtl data init` and `split`: what they print, what they write, and mistakes in one sentence."""

import csv
import inspect

import pytest
from in_process import call, refused
from own_folder import mask, picture, write

from ssmtl.cli_data import split
from ssmtl.manifests.fingerprints import SAME_PICTURE, sha256_of
from ssmtl.manifests.stamp import require_stamp


def cells(outcome):
    """Return the cells of the tables' rows by their first cell."""
    assert outcome.code == 0, outcome
    rows = [[cell.strip() for cell in line.strip("│┃ ").split("│")] for line in outcome.out.splitlines() if "│" in line]
    return {row[0]: row[1:] for row in rows}


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return {row["image"]: row for row in csv.DictReader(file)}


@pytest.fixture
def films(tmp_path):
    """30 films of 15 patients, 12 with a diagnosis, 6 with a mask, and one copy of another under a new name."""
    root, rows = tmp_path / "films", ["image,diagnosis,patient"]
    for film in range(30):
        picture(root / f"images/{film:02}.png", seed=film)
        rows.append(f"{film:02}.png,{('ill', 'well')[film % 4 // 2] if film < 12 else ''},p{film // 2}")
    picture(root / "images/copy.jpg", seed=29, quality=95)
    for film in range(8, 14):
        mask(root / f"masks/{film:02}.png")
    write(root / "films.csv", "\n".join(rows))
    return root


@pytest.fixture
def manifest(films):
    assert call("data", "init", films).code == 0
    return films / "manifest.csv"


def test_init_says_what_it_understood_and_what_comes_next(films):
    write(films / "readme.docx", "")
    outcome = call("data", "init", films)
    rows = cells(outcome)
    assert f"Found 31 images in {films}" in outcome.out
    assert rows["label:diagnosis"][0] == "12"
    assert rows["label:diagnosis"][-1] == "ill, well"
    told = "6 masks, 0 and 255; converted into masks-index/, the originals stay as they are"
    assert rows["mask"] == ["6", told, "background, foreground"]
    assert rows["group"][:2] == ["30", "15 groups in the column 'patient' of films.csv"]
    assert rows["1 file(s) .docx"] == ["nothing that was understood"]
    assert outcome.out.splitlines()[-1] == f"next: ssmtl data check {films / 'manifest.csv'}"


def test_init_without_any_label_says_how_to_go_on(tmp_path):
    picture(tmp_path / "own/a.png")
    out = call("data", "init", tmp_path / "own").out
    assert "No label was found: add a column to the manifest" in out


def test_split_prints_tasks_by_splits_and_writes_everything(manifest):
    before = manifest.read_bytes()
    outcome = call("data", "split", manifest)
    rows = cells(outcome)
    images, diagnosis, masks = ([int(cell) for cell in rows[name]] for name in ("(images)", "label:diagnosis", "mask"))
    assert sum(images[:3]) == images[3] == 31
    assert abs(images[0] - 0.7 * 31) <= 3
    assert diagnosis[3] == 12
    assert masks[3] == 6
    assert min(*images, *diagnosis, *masks) >= 1
    assert rows["ill"][3] == rows["well"][3] == "6"
    assert "1 image(s) show the same picture as another one; they stay together." in outcome.out
    assert outcome.out.splitlines()[-1] == f"next: ssmtl run custom --data {manifest}"

    assert manifest.with_name("manifest.csv.bak").read_bytes() == before
    require_stamp(manifest)
    written = table(manifest)
    assert [row["split"] for row in written.values()].count("train") == images[0]
    groups = {}
    for row in written.values():
        if row["group"]:
            groups.setdefault(row["group"], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in groups.values())
    assert written["images/copy.jpg"]["split"] == written["images/29.png"]["split"] == written["images/28.png"]["split"]
    assert written["images/03.png"]["sha256"] == sha256_of(manifest.parent / "images/03.png")
    assert len(written["images/03.png"]["phash"]) == 64


def test_a_divided_manifest_passes_its_check_and_keeps_its_splits(manifest):
    assert call("data", "split", manifest, "--seed", 3).code == 0
    before = manifest.read_bytes()
    assert call("data", "check", manifest).code == 0
    outcome = call("data", "split", manifest, "--seed", 4)
    assert "31 row(s) kept the split that they had; --again divides all anew." in outcome.out
    assert manifest.read_bytes() == before
    assert call("data", "split", manifest, "--seed", 4, "--again").code == 0
    assert manifest.read_bytes() != before


def test_split_may_write_beside(manifest):
    before = manifest.read_bytes()
    out = manifest.with_name("divided.csv")
    assert call("data", "split", manifest, "--out", out).code == 0
    assert manifest.read_bytes() == before
    require_stamp(out)
    assert (
        out.with_name("divided.classes.json").read_bytes() == manifest.with_name("manifest.classes.json").read_bytes()
    )
    assert "divided.csv is already there" in refused("data", "split", manifest, "--out", out)


def test_too_few_labels_for_a_split_are_a_warning(tmp_path):
    root = tmp_path / "own"
    for place in range(10):
        picture(root / f"images/{place}.png")
    mask(root / "masks/1.png")
    mask(root / "masks/2.png")
    assert call("data", "init", root).code == 0
    outcome = call("data", "split", root / "manifest.csv")
    assert "has no label of 'mask': the labeled images form only 2 group(s), and train comes first" in outcome.out
    assert "labeled images say little: mask has 1 in " in outcome.out


def test_few_labels_to_score_on_are_one_line_for_all_tasks(tmp_path):
    root, rows = tmp_path / "own", ["image,label,label:view,split"]
    for place in range(20):
        picture(root / f"images/{place}.png", seed=place)
        split = "train" if place < 11 else "val" if place < 15 else "test"
        rows.append(f"images/{place}.png,{'ab'[place % 2]},{'fl'[place % 2] if place < 14 else ''},{split}")
    write(root / "own.csv", "\n".join(rows))
    out = call("data", "split", root / "own.csv").out
    assert [line for line in out.splitlines() if "say little" in line] == [
        "warning: scores on fewer than 5 labeled images say little: label has 4 in val, label:view has 3 in val; "
        "label more images."
    ]


def test_a_copy_in_another_split_is_refused_until_it_is_divided_again(manifest):
    assert call("data", "split", manifest).code == 0
    rows = table(manifest)
    here = rows["images/copy.jpg"]["split"]
    other = "test" if here == "train" else "train"
    lines = manifest.read_text().splitlines()
    lines = [line.replace(f'"{here}"', f'"{other}"') if "copy.jpg" in line else line for line in lines]
    manifest.write_text("\n".join(lines) + "\n")
    sentence = refused("data", "split", manifest)
    assert "1 problem(s), the first: images/" in sentence
    assert f"see all of them with `ssmtl data check {manifest}`" in sentence
    assert call("data", "split", manifest, "--again").code == 0
    assert call("data", "check", manifest).code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--val", 0.6, "--test", 0.4), "val=0.6 and test=0.4 leave no image to train on"),
        (("--val", -0.1), "val=-0.1 and test=0.15 leave no image to train on, or are below 0"),
        (("--near", 3), "near=3 would tear apart copies of a picture, which are up to 12 bits apart"),
        (("--out", "/elsewhere/x.csv"), "/elsewhere/x.csv must lie beside"),
        (("--vall", 0.1), "Did you mean --val?"),
    ],
)
def test_mistakes_are_one_sentence_and_change_nothing(manifest, words, says):
    before = manifest.read_bytes()
    assert says in refused("data", "split", manifest, *words)
    assert manifest.read_bytes() == before
    assert not manifest.with_name("manifest.csv.bak").exists()


def test_other_mistakes_are_one_sentence(tmp_path):
    assert "is missing or not a file" in refused("data", "split", tmp_path / "manifest.csv")
    assert "is no folder" in refused("data", "init", tmp_path / "nowhere")


def test_a_manifest_with_problems_is_not_divided(manifest):
    (manifest.parent / "images/05.png").unlink()
    assert "has 1 problem(s), the first: images/05.png line 7 is missing" in refused("data", "split", manifest)


def test_help_teaches():
    page = " ".join(call("data", "--help").out.split())
    for word in ("init", "check", "split", "coverage", "ssmtl data init FOLDER", "an empty cell where nobody looked"):
        assert word in page
    page = " ".join(call("data", "init", "--help").out.split())
    for word in ("FOLDER", "--force", "--folders", "Pascal VOC", "YOLO", "COCO", "Example: ssmtl data init films"):
        assert word in page
    page = " ".join(call("data", "split", "--help").out.split())
    for word in (
        "FILE",
        "--val",
        "--test",
        "--seed",
        "--near",
        "--again",
        "0.15",
        "FILE.bak",
        "Example: ssmtl data split",
    ):
        assert word in page


def test_the_default_distance_is_that_of_copies():
    assert inspect.signature(split).parameters["near"].default == SAME_PICTURE


def test_images_without_any_label_are_all_for_training(manifest):
    assert call("data", "split", manifest, "--val", 0.3, "--test", 0.3).code == 0
    rows = table(manifest)
    bare = [row["split"] for row in rows.values() if not row["label:diagnosis"] and not row["mask"]]
    labeled = [row["split"] for row in rows.values() if row["label:diagnosis"] or row["mask"]]
    assert bare == ["train"] * len(bare)
    assert {name: labeled.count(name) for name in ("val", "test")} == {"val": 4, "test": 4}
