"""How long a manifest of a million rows takes to open, and until the first batch; and how much memory it needs.

    python benchmarks/manifest.py --rows 1000000

Writes a CSV with the columns image, label, mask, boxes, split and group into a temporary folder. Every row has a
name of its own; behind the names are links to one folder of 1000 hard links to 8 real PNG files, as a million files
would measure the file system. Half of the rows have a label, a tenth boxes, one in a hundred a mask; one in twenty is
for validation. The stamp of a check is written here: decoding a million files isn't what is measured.

A fresh process opens it as a training run does (`open_sources`), and takes one batch from two worker processes. The
last line is JSON: "open_s" from the recipe to open sources, "batch_s" from there to the first batch, "peak_mib" the
highest resident memory of the process in all, and "above_imports_mib" what of it came after the imports. The floor
is reading the same file with pyarrow alone into columns of text, in a fresh process of its own: "floor_s", "floor_mib".
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

FILES, LINKS, SIDE, WORKERS = 8, 1000, 64, 2


def write_data(root: Path, rows: int) -> Path:
    """Write the files, the table and its stamp; return the table's path."""
    from ssmtl.manifests.classes import write_classes
    from ssmtl.manifests.stamp import write_stamp

    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for place in range(-(-rows // LINKS)):
        (root / f"site_{place:04d}").symlink_to(root / "images")
    for place in range(LINKS):
        image, mask = root / f"images/case_{place:07d}_frontal_view.png", root / f"masks/case_{place:07d}.png"
        if place < FILES:
            Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(image)
            Image.fromarray(rng.integers(0, 2, (SIDE, SIDE), dtype=np.uint8)).save(mask)
        else:
            os.link(root / f"images/case_{place % FILES:07d}_frontal_view.png", image)
            os.link(root / f"masks/case_{place % FILES:07d}.png", mask)
    path = root / "manifest.csv"
    with path.open("w") as table:
        table.write("image,label,mask,boxes,split,group\n")
        for row in range(rows):
            place = row % LINKS
            label = ("normal", "pneumonia")[row // 2 % 2] if row % 2 else ""
            drawn = f"masks/case_{place:07d}.png" if row % 100 == 0 else ""
            boxes = '"[{""class"": ""car"", ""box"": [4, 8, 32.5, 60]}]"' if row % 10 == 3 else ""
            split = "val" if row % 20 == 7 else "train"
            name = f"site_{row // LINKS:04d}/case_{place:07d}_frontal_view.png"
            table.write(f"{name},{label},{drawn},{boxes},{split},patient_{row // 4}\n")
    write_classes(path, {"label": ("normal", "pneumonia"), "mask": ("background", "lung"), "boxes": ("car",)})
    write_stamp(path, rows)
    return path


def peak_mib() -> float:
    """Return the highest resident memory of this process so far, in MiB; getrusage would count its parent's too."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def read_alone(path: Path) -> dict[str, float]:
    """Read the table with pyarrow into columns of text."""
    import pyarrow as pa
    import pyarrow.csv

    names = path.open().readline().strip().split(",")
    floor, began = peak_mib(), time.perf_counter()
    table = pa.csv.read_csv(path, convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())))
    assert table.num_rows
    return {"floor_s": time.perf_counter() - began, "floor_mib": peak_mib() - floor}


def first_batch(path: Path) -> dict[str, float]:
    """Open the manifest in a recipe of three tasks, and take the first batch of training."""
    from ssmtl.datasets.manifest import Manifest
    from ssmtl.loader import open_sources, training_loader
    from ssmtl.models.deeplab import DeepLabV3Plus
    from ssmtl.models.multitask import Model
    from ssmtl.models.timm_encoder import TimmEncoder
    from ssmtl.objective import Objective
    from ssmtl.recipe import Recipe, Source
    from ssmtl.strategies.supervised import Supervised
    from ssmtl.streams import Explicit
    from ssmtl_tasks.classification import Classification
    from ssmtl_tasks.detection import Detection
    from ssmtl_tasks.segmentation import Segmentation

    imports = peak_mib()
    tasks = (
        Classification("label", classes=("normal", "pneumonia")),
        Segmentation("mask", classes=("background", "lung"), head=DeepLabV3Plus()),
        Detection("boxes", classes=("car",)),
    )
    began = time.perf_counter()
    reader = Manifest.of(path, canvas=(SIDE, SIDE))
    recipe = Recipe(
        name="benchmark",
        objectives=tuple(Objective(task, Supervised()) for task in tasks),
        sources=(Source("own", reader, serves=tuple(task.name for task in tasks)),),
        model=Model(TimmEncoder("resnet18"), channels=3),
        streams=Explicit(labeled=8, unlabeled=8),
    )
    sources = open_sources(recipe)
    opened = time.perf_counter()
    batches = training_loader(sources, start=0, stop=2, rank=0, world=1, workers=WORKERS, pin=False)
    first = next(batches)
    done = time.perf_counter()
    assert len(first) == 16
    return {
        "images": len(sources.tables[0]),
        "open_s": opened - began,
        "batch_s": done - opened,
        "peak_mib": peak_mib(),
        "above_imports_mib": peak_mib() - imports,
    }


def fresh(what: str, path: Path) -> dict[str, float]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, "--measure", what, "--file", str(path)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main() -> None:
    """Write the data, measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--measure", choices=MEASURES, help="used by the program itself")
    parser.add_argument("--file", type=Path, help="used by the program itself")
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(MEASURES[given.measure](given.file)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = write_data(Path(folder), given.rows)
        floor, found = fresh("floor", path), fresh("batch", path)
        size = path.stat().st_size / 1e6
    found |= floor | {"open_over_floor": found["open_s"] / floor["floor_s"], "file_mib": size}
    print(json.dumps({"rows": given.rows, **{name: round(value, 2) for name, value in found.items()}}))


MEASURES = {"floor": read_alone, "batch": first_batch}

if __name__ == "__main__":
    main()
