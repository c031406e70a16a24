"""A folder of small films in the plain layout of the MultiMix study, drawn by hand: bright lungs mean pneumonia."""

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 40, 48


def write_films(root):
    """Write `cxr/` and `cxr_cross/`: 12 + 4 films a class, 6 + 3 + 3 lung films, and the cross sets."""
    cxr, cross = root / "cxr", root / "cxr_cross"
    for split, count in (("train", 12), ("test", 4)):
        _write_classes(cxr / "classification" / split, count)
    _write_classes(cross / "classification/train", 3)
    stems = _write_lungs(cxr / "segmentation", 12)
    for split, chosen in (("train", stems[:6]), ("val", stems[6:9]), ("test", stems[9:])):
        (cxr / f"segmentation/{split}.txt").write_text("\n".join(chosen))
    _write_lungs(cross / "montgomery", 3)
    return root


def film(number, *, sick):
    """Return a film uint8 [h, w] and its lungs as 0 and 255."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    noise = np.random.default_rng(number).integers(0, 30, (HEIGHT, WIDTH))
    halves = [(rows - 20) ** 2 / 14**2 + (columns - center) ** 2 / 8**2 < 1 for center in (14, 34)]
    lungs = halves[0] | halves[1]
    return (noise + np.where(lungs, 140 if sick else 30, 90)).astype(np.uint8), (lungs * 255).astype(np.uint8)


def _write_classes(folder, count):
    for name in ("NORMAL", "PNEUMONIA"):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            image, _ = film(number + 100 * (name == "PNEUMONIA"), sick=name == "PNEUMONIA")
            Image.fromarray(image).save(folder / name / f"{name[0]}{number:02}.png")


def _write_lungs(folder, count):
    stems = [f"film{number:02}" for number in range(count)]
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number, stem in enumerate(stems):
        image, lungs = film(number, sick=False)
        Image.fromarray(image).save(folder / "images" / f"{stem}.png")
        Image.fromarray(lungs).save(folder / "masks" / f"{stem}.png")
    return stems
