"""`ssmtl predict` on a folder of anything: formats, depths, turned pictures, COCO annotations."""

import csv
import json
import shutil
import struct

import numpy as np
import pytest
from films import film
from in_process import call, refused
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO


def deep_color_tiff(path, width=4, height=4):
    """Write 16-bit RGB, which Pillow can read but not write, and cuts to 8 bits without a word."""
    pixels = struct.pack("<48H", *range(0, 48 * 1000, 1000))
    tags = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, 3, 8 + len(pixels)),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8),
        (277, 3, 1, 3),
        (278, 3, 1, height),
        (279, 4, 1, len(pixels)),
    ]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    header = struct.pack("<2sHI", b"II", 42, 8 + len(pixels) + 6)
    path.write_bytes(header + pixels + struct.pack("<3H", 16, 16, 16) + directory)


@pytest.fixture
def zoo(tmp_path):
    """A folder of what Pillow reads, and of what must be refused one by one."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    gray = Image.fromarray(film(7, sick=True)[0]).resize((75, 50))
    color = gray.convert("RGB")
    for suffix in ("png", "bmp", "gif", "tif"):
        gray.save(folder / f"good-{suffix}.{suffix}")
    color.save(folder / "good-jpg.JPG")
    color.save(folder / "good-webp.webp", lossless=True)
    color.convert("RGBA").save(folder / "good-alpha.png")
    Image.new("I;16", (9, 9), 40_000).save(folder / "bad-16.png")
    Image.new("I;16", (9, 9), 40_000).save(folder / "bad-16.tiff")
    deep_color_tiff(folder / "bad-color.tif")
    gray.save(folder / "bad-pages.tif", save_all=True, append_images=[gray])
    color.convert("CMYK").save(folder / "bad-cmyk.jpg")
    (folder / "bad-empty.png").touch()
    (folder / "bad-text.webp").write_text("no picture")
    (folder / "notes.txt").write_text("ignored")
    return folder


def test_every_format_is_predicted_or_listed_with_its_reason(trained, zoo, tmp_path):
    out = tmp_path / "out"
    outcome = call("predict", trained.path, zoo, "--out", out)
    assert outcome.code == 2
    assert "7 of 14 images" in outcome.err
    with (out / "predictions.csv").open(newline="") as stream:
        rows = {row["output"]: row for row in csv.DictReader(stream)}
    assert sorted(rows) == [f"good-{what}" for what in ("alpha", "bmp", "gif", "jpg", "png", "tif", "webp")]
    lossless = {rows[f"good-{what}"]["diagnosis_pneumonia"] for what in ("alpha", "bmp", "gif", "png", "tif", "webp")}
    assert len(lossless) == 1
    with (out / "skipped.csv").open(newline="") as stream:
        reasons = {row["file"].rpartition("/")[2]: row["reason"] for row in csv.DictReader(stream)}
    says = {
        "bad-16.png": "16-bit",
        "bad-16.tiff": "16-bit",
        "bad-color.tif": "16-bit",
        "bad-pages.tif": "2 frames",
        "bad-cmyk.jpg": "mode CMYK",
        "bad-empty.png": "0 bytes",
        "bad-text.webp": "is not a PNG, JPEG, BMP, GIF, TIFF or WEBP image",
    }
    assert reasons.keys() == says.keys()
    for name, words in says.items():
        assert words in reasons[name]
        assert f"skipped: {reasons[name]}" in outcome.err


def test_images_of_formats_that_nobody_reads_are_listed(trained, zoo, tmp_path):
    folder, out = tmp_path / "phone", tmp_path / "out"
    folder.mkdir()
    shutil.copy(zoo / "good-png.png", folder)
    for name in ("a.HEIC", "scan.nii.gz", "b.dcm", "notes.gz", ".c.svg"):
        (folder / name).write_bytes(b"x")
    outcome = call("predict", trained.path, folder, "--out", out)
    assert outcome.code == 2
    assert "1 of 4 images" in outcome.err
    with (out / "skipped.csv").open(newline="") as stream:
        reasons = {row["file"].rpartition("/")[2]: row["reason"] for row in csv.DictReader(stream)}
    assert reasons == {
        "a.HEIC": f"{folder}/a.HEIC is another image format; save it as PNG",
        "b.dcm": f"{folder}/b.dcm is a medical format; export it as 8-bit PNG",
        "scan.nii.gz": f"{folder}/scan.nii.gz is a medical format; export it as 8-bit PNG",
    }
    (folder / "good-png.png").unlink()
    assert "only 2 .dcm" not in (said := refused("predict", trained.path, folder, "--out", out))
    assert "1 .heic (another image format; save it as PNG)" in said


def test_the_list_of_skipped_files_goes_when_they_are_repaired(trained, zoo, tmp_path):
    out, bad = tmp_path / "out", zoo / "bad-empty.png"
    assert call("predict", trained.path, bad, zoo / "good-png.png", "--out", out).code == 2
    assert (out / "skipped.csv").exists()
    bad.write_bytes((zoo / "good-png.png").read_bytes())
    assert call("predict", trained.path, bad, zoo / "good-png.png", "--out", out).code == 0
    assert not (out / "skipped.csv").exists()


def test_a_photo_is_turned_as_its_camera_says(trained, zoo, tmp_path):
    with Image.open(zoo / "good-jpg.JPG") as upright:
        exif = Image.Exif()
        exif[0x0112] = 6
        upright.rotate(90, expand=True).save(zoo / "turned.png", exif=exif)
    out = tmp_path / "out"
    assert call("predict", trained.path, zoo / "turned.png", zoo / "good-jpg.JPG", "--out", out).code == 0
    with Image.open(out / "masks/turned--lungs.png") as mask, Image.open(out / "masks/good-jpg--lungs.png") as other:
        assert mask.size == (75, 50)
        assert (np.asarray(mask) == np.asarray(other)).all()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own, when it decodes
def test_coco_annotations_are_the_masks(trained, zoo, tmp_path, capsys):
    out = tmp_path / "out"
    names = [zoo / "good-png.png", zoo / "good-jpg.JPG"]
    assert call("predict", trained.path, *names, "--out", out).code == 0
    coco = COCO(str(out / "predictions.coco.json"))
    capsys.readouterr()
    assert [image["file_name"] for image in coco.dataset["images"]] == [str(name) for name in names]
    assert [(c["name"], c["supercategory"]) for c in coco.dataset["categories"]] == [("lung", "lungs")]
    found = {note["image_id"]: note for note in coco.dataset["annotations"]}
    for image in coco.dataset["images"]:
        stem = image["file_name"].rpartition("/")[2].partition(".")[0]
        with Image.open(out / f"masks/{stem}--lungs.png") as mask:
            region = np.asarray(mask) > 0
        assert (image["height"], image["width"]) == region.shape
        if region.any():
            note = found.pop(image["id"])
            assert (coco_mask.decode(coco.annToRLE(note)).astype(bool) == region).all()
            assert note["area"] == region.sum()
            columns, rows = np.flatnonzero(region.any(0)), np.flatnonzero(region.any(1))
            sides = [columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]]
            assert note["bbox"] == sides
    assert not found


def test_a_file_named_twice_is_predicted_once(trained, zoo, tmp_path):
    out = tmp_path / "out"
    assert call("predict", trained.path, zoo / "good-png.png", zoo / "good-png.png", "--out", out).code == 0
    assert len((out / "predictions.csv").read_text().splitlines()) == 2


def test_how_many_are_predicted_at_once_does_not_show(trained, zoo, tmp_path):
    said = []
    for size in (1, 3, "auto"):
        out = tmp_path / str(size)
        assert call("predict", trained.path, zoo, "--out", out, "--batch-size", size).code == 2
        said.append((out / "predictions.csv").read_text())
    assert said[0] == said[1] == said[2]
    assert json.loads((tmp_path / "1/predictions.coco.json").read_text())["images"][0]["id"] == 1


@pytest.mark.parametrize(("size", "says"), [(0, "--batch-size 0 was given"), ("many", "many")])
def test_bad_batch_sizes(trained, zoo, size, says):
    assert says in refused("predict", trained.path, zoo, "--batch-size", size)
