"""Small manifests by hand, good but for what a test breaks, and what their check says."""

import csv
import json

import numpy as np
from PIL import Image

from ssmtl.manifests.check import check_manifest
from ssmtl.manifests.repairs import fix_manifest

HEIGHT, WIDTH = 24, 32


def pixels(seed, shape=(HEIGHT, WIDTH)):
    """Return 8-bit noise over blobs: no two seeds look alike."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5), dtype=np.uint8)).resize(shape[::-1], Image.Resampling.BICUBIC)
    return (np.asarray(coarse) * 0.8 + rng.integers(0, 50, shape)).astype(np.uint8)


def save(root, name, array, **options):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return name


def image(root, seed, name=None):
    return save(root, name or f"images/{seed}.png", pixels(seed))


def write_rows(path, header, rows):
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header, *rows])
    return path


def write_manifest(root, header, rows, classes=None, name="own.csv"):
    """Write a manifest of texts, and its classes file."""
    path = write_rows(root / name, header.split(), rows)
    if classes is not None:
        (root / "own.classes.json").write_text(json.dumps(classes))
    return path


def refused(path, **options):
    """Return (file, line, what, fix, repair) of everything that keeps a manifest from training."""
    return [tuple(problem)[:5] for problem in check_manifest(path, **options).refused]


def only(path, **options):
    """Return the one problem that keeps a manifest from training."""
    found = refused(path, **options)
    assert len(found) == 1, found
    return found[0]


def warned(path, **options):
    return [tuple(problem)[:4] for problem in check_manifest(path, **options).problems if problem.warning]


def repaired_rows(path, **options):
    """Repair a manifest, require that its copy passes, and return the copy's cells below the header."""
    out = path.with_name("fixed.csv")
    changes = fix_manifest(check_manifest(path, **options), out)
    assert changes
    if options.get("box_order") == "size":  # the copy has corners
        del options["box_order"]
    assert check_manifest(out, **options).refused == ()
    assert (out.parent / "fixed.checked.json").exists()
    with out.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))[1:]
