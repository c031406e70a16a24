"""Files of a stranger's folder: pictures that all differ, masks, and what annotation tools write."""

import json

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 40, 30


def picture(path, seed=None, mode="RGB", **options):
    """Save a colored picture, another one for every seed; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dice = np.random.default_rng(sum(path.as_posix().encode()) if seed is None else seed)
    coarse = Image.fromarray(dice.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).convert(mode).save(path, **options)
    return path


def mask(path, values=(0, 255), mode="L"):
    """Save a mask whose first column is the first value, and so on; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.array([values[min(x, len(values) - 1)] for x in range(WIDTH)], dtype=np.uint8)
    image = Image.fromarray(np.tile(levels, (HEIGHT, 1)))
    if mode == "P":
        image.putpalette([level for index in range(256) for level in (index, 255 - index, index // 2)])
    image.save(path)
    return path


def voc_xml(path, name="boat", box=(1, 1, 10, 20), difficult=0):
    """Write an annotation of one object; `box` counts pixels from 1 and includes the last."""
    sides = "".join(f"<{side}>{at}</{side}>" for side, at in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"<annotation><size><width>{WIDTH}</width><height>{HEIGHT}</height></size><object><name>{name}</name>"
        f"<difficult>{difficult}</difficult><bndbox>{sides}</bndbox></object></annotation>"
    )


def coco_json(path, images, boxes):
    """Write a COCO file of {id: file name} and [(image, category, [x, y, width, height])]."""
    names = sorted({name for _, name, _ in boxes})
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "images": [{"id": key, "file_name": name} for key, name in images.items()],
        "categories": [{"id": place + 1, "name": name} for place, name in enumerate(names)],
        "annotations": [
            {"id": place, "image_id": image, "category_id": names.index(name) + 1, "bbox": bbox}
            for place, (image, name, bbox) in enumerate(boxes)
        ],
    }
    path.write_text(json.dumps(document))


def write(path, text):
    """Write a text, and its folder where that isn't there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
