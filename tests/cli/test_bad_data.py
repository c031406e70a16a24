"""Whatever is wrong on disk ends the command with exit code 2 and one sentence that names the file and the way out."""

import shutil

import numpy as np
import pytest
from films import HEIGHT, WIDTH
from in_process import call, refused
from PIL import Image

LEVELS = np.full((HEIGHT, WIDTH), 90, dtype=np.uint8)


def corrupt(path):
    path.write_bytes(b"not an image at all")


def truncated(path):
    path.write_bytes(path.read_bytes()[:200])


def empty(path):
    path.write_bytes(b"")


def sixteen_bit(path):
    Image.fromarray(LEVELS.astype(np.uint16) * 257).save(path)


def transparent(path):
    Image.fromarray(np.dstack([LEVELS] * 3 + [LEVELS])).save(path)


def animated(path):
    Image.fromarray(LEVELS).save(path, save_all=True, append_images=[Image.fromarray(LEVELS + 1)])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (corrupt, "is not a PNG, JPEG, BMP or GIF image"),
        (truncated, "is damaged or truncated"),
        (empty, "is empty (0 bytes)"),
        (sixteen_bit, "has 16-bit pixels"),
        (transparent, "has transparency (mode RGBA)"),
        (animated, "is animated (2 frames)"),
    ],
)
def test_a_film_that_is_no_8_bit_still_picture(films, study, damage, says):
    for path in sorted((films / "cxr/classification/train/PNEUMONIA").iterdir()):
        damage(path)
    sentence = refused(*study())
    assert says in sentence
    assert "PNEUMONIA/P" in sentence


def test_a_bad_film_found_by_a_worker_process_is_the_same_one_sentence(films, study):
    for path in sorted((films / "cxr/classification/train/PNEUMONIA").iterdir()):
        truncated(path)
    assert refused(*study(workers=1)).count("is damaged or truncated") == 1


def test_the_traceback_of_a_worker_process_is_there_for_those_who_ask(films, study):
    for path in sorted((films / "cxr/segmentation/masks").iterdir()):
        corrupt(path)
    with pytest.raises(ValueError, match="is not a PNG") as caught:
        call(*study("--debug", workers=1))
    assert "decode_mask" in "".join(caught.value.__notes__)


def test_a_bad_film_of_the_test_set(films, study):
    corrupt(films / "cxr/classification/test/NORMAL/N00.png")
    assert "test/NORMAL/N00.png is not a PNG" in refused(*study())


def test_no_data_folder(tmp_path, study):
    sentence = refused(*study(data=tmp_path / "nowhere"))
    assert "nowhere does not exist" in sentence
    assert "--data" in sentence


def test_an_empty_data_folder(tmp_path, study):
    (tmp_path / "empty").mkdir()
    assert "holds neither 'cxr/'" in refused(*study(data=tmp_path / "empty"))


def test_an_empty_folder_inside_the_data(films, study):
    folder = films / "cxr/classification/train/NORMAL"
    shutil.rmtree(folder)
    folder.mkdir()
    assert "train/NORMAL has no image" in refused(*study())


def test_a_film_without_its_mask(films, study):
    (films / "cxr/segmentation/masks/film03.png").unlink()
    sentence = refused(*study())
    assert "film03.png has no mask film03.*" in sentence


def test_a_mask_of_another_size(films, study):
    for path in (films / "cxr/segmentation/masks").iterdir():
        Image.fromarray((LEVELS[1:] > 0).astype(np.uint8) * 255).save(path)
    assert f"is {WIDTH}x{HEIGHT - 1} pixels, but its image" in refused(*study())


def test_an_unknown_label_in_the_csv(films, study):
    path = films / "cxr/classification/labels.csv"
    path.write_text("path,label\ntrain/NORMAL/N00.png,PNEUMONJA\n")
    sentence = refused(*study())
    assert "line 2 has the unknown label 'PNEUMONJA'" in sentence
    assert "did you mean 'PNEUMONIA'?" in sentence


@pytest.mark.parametrize(("flag", "number", "available"), [("diagnosis_labels", 1000, 22), ("lung_labels", 7, 6)])
def test_a_budget_larger_than_the_set(study, flag, number, available):
    sentence = refused(*study(**{flag: number}))
    assert f"asks for {number} labels" in sentence
    assert f"only {available}" in sentence


def test_a_class_without_a_labeled_example(study):
    assert "without a labeled example" in refused(*study(diagnosis_labels=1))


@pytest.fixture
def original(tmp_path):
    """The lung sets in their original layouts, with films of JSRT that are far too short."""
    lung = Image.fromarray(np.where(np.arange(32) < 16, 255, 0).astype(np.uint8)[:, None].repeat(32, 1))
    root = tmp_path / "original"
    (root / "chest_xray").mkdir(parents=True)
    films, montgomery = root / "JSRT", root / "MontgomerySet"
    (montgomery / "CXR_png").mkdir(parents=True)
    for fold, numbers in ((1, range(1, 12, 2)), (2, range(2, 6, 2))):
        for side in ("left lung", "right lung"):
            (films / f"scratch/fold{fold}/masks/{side}").mkdir(parents=True)
            for number in numbers:
                lung.save(films / f"scratch/fold{fold}/masks/{side}/JPCLN{number:03}.gif")
        for number in numbers:
            (films / f"JPCLN{number:03}.IMG").write_bytes(b"\0" * 5000)
    for folder in ("CXR_png", "ManualMask/leftMask", "ManualMask/rightMask"):
        (montgomery / folder).mkdir(parents=True, exist_ok=True)
        lung.save(montgomery / folder / "MCUCXR_0001_0.png")
    return root


def test_a_raw_film_of_the_wrong_size(original, study):
    sentence = refused(*study(data=original, method="u-net", lung_labels=2))
    assert ".IMG has 5000 bytes, but 8388608 were expected (2048x2048 pixels of 2 bytes" in sentence


def test_after_a_refusal_the_same_command_works_again(films, study):
    path = films / "cxr/segmentation/masks/film03.png"
    mask = path.read_bytes()
    path.unlink()
    refused(*study())
    path.write_bytes(mask)
    assert call(*study()).code == 0
