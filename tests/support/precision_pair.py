"""One of two processes that score the same images: each alone, half of them each, and all of them in the first."""

import json
import sys
import warnings
from pathlib import Path

import torch
from boxed import boxes_at, found_at
from torch import distributed

from ssmtl_tasks import detection_metrics
from ssmtl_tasks.detection import Detection

A, B, AWAY = (0, 0, 20, 20), (40, 40, 60, 60), (70, 0, 90, 20)
IMAGES = [
    (found_at([A, AWAY], [0, 1], [0.9, 0.8]), boxes_at([[A, B]], labels=[[0, 1]])),
    (found_at([A], [0], [0.85]), boxes_at([[]])),
    (found_at([B, AWAY, A], [1, 0, 0], [0.7, 0.6, 0.3]), boxes_at([[B, A]], labels=[[1, 0]])),
]


def score(images):
    metrics = Detection("d", classes=("car", "person")).metrics()
    for pred, target in images:
        metrics.update(pred, target)
    return {name: value.item() for name, value in metrics.compute().items()}


def refuse(*args, **options):
    raise AssertionError("the second process reckons, too")


def main(meeting, out, rank):
    found = [score(IMAGES)]
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    if rank:
        detection_metrics.average_precision = refuse
    found.append(score(IMAGES[rank::2]))
    warnings.filterwarnings("ignore", message="The ``compute`` method")  # said of the process that saw no image
    found.append(score([] if rank else IMAGES))
    distributed.destroy_process_group()
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
