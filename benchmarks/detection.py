"""What a step of detection costs beside the network, and how long COCO's scoring takes, against the usual ways.

- loss: anchors matched to boxes, focal and GIoU loss, and their gradients; decode: from outputs to the best boxes of
  each image. Ours work on the whole batch, those of torchvision's RetinaNet on one image after the other. Outputs,
  anchors and boxes are the same, and so are the answers to 1e-5, which is checked first.
- map: from detections and objects in memory to AP of every class, with pycocotools and with faster-coco-eval, against
  torchmetrics' MeanAveragePrecision with the same package, on fewer images, as it takes long.

    python benchmarks/detection.py --boxes 10,30,120,300 --repeats 5

Ways take turns, after a turn that isn't counted. A time is the median of the turns. In the last line, a number is how
many times as long a peer takes; "ours_300_over_10" is how many times as long our loss takes with 300 boxes an image as
with 10; "cpu" holds the same of processor time, which other programs on the machine disturb less.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
import torchmetrics
import torchvision
from detection_peers import Data, Scene, Torchvision, data, scenes, torchmetrics_map
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ssmtl_tasks import coco, detection_metrics
from ssmtl_tasks.detection import Detection
from ssmtl_tasks.detection_metrics import BoxPrecision

Seconds: TypeAlias = dict[str, tuple[float, float]]
CLASSES = tuple(f"class_{index}" for index in range(8))
TASK = Detection("boxes", classes=CLASSES)
EVALUATED = 10_000
BACKENDS = {"pycocotools": coco.PYCOCOTOOLS, "faster_coco_eval": coco.FASTER}


def peer(of: Data) -> Torchvision:
    """Return torchvision's RetinaNet with the thresholds of our task."""
    limits = {"topk_candidates": TASK.per_level, "detections_per_img": TASK.detections}
    return Torchvision(of, score_thresh=TASK.score_threshold, nms_thresh=TASK.nms, **limits)


def our_loss(of: Data) -> Tensor:
    """Return our loss as torchvision means it: the mean over images of each one's ratio."""
    loss = TASK.supervised_loss(of.pred, of.target)
    return (loss.total / loss.count.clamp(min=loss.floor)).mean()


def ways_for(of: Data) -> dict[str, Callable[[], Any]]:
    """Return our ways and torchvision's."""
    theirs = peer(of)

    def learned(loss: Callable[[], Tensor]) -> None:
        of.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]

    return {
        "ours_loss": lambda: learned(lambda: our_loss(of)),
        "torchvision_loss": lambda: learned(theirs.loss),
        "ours_decode": lambda: TASK.metrics()["boxes"].detect(of.pred),
        "torchvision_decode": theirs.decode,
    }


def check(of: Data) -> None:
    """Raise unless loss, gradients and detections are torchvision's."""
    theirs, parts = peer(of), (of.pred.logits, of.pred.deltas)
    ours, other = our_loss(of), theirs.loss()
    torch.testing.assert_close(ours, other, rtol=1e-5, atol=1e-5)
    slopes = zip(torch.autograd.grad(ours, parts), torch.autograd.grad(other, parts), strict=True)
    for slope, wanted in slopes:
        torch.testing.assert_close(slope, wanted, rtol=1e-4, atol=1e-7)
    for answer, wanted in zip(TASK.decode(of.pred, [(of.size, of.size)] * len(parts[0])), theirs.decode(), strict=True):
        torch.testing.assert_close(torch.from_numpy(answer.scores), wanted["scores"].cpu(), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(torch.from_numpy(answer.boxes), wanted["boxes"].cpu(), rtol=1e-5, atol=1e-3)


def our_map(of: Scene, backend: str) -> dict[str, Tensor]:
    """Return our metrics, by one of the packages."""
    usual = coco.average_precision
    metric = BoxPrecision(CLASSES, lambda _: of.found)
    try:
        detection_metrics.average_precision = lambda *args, **options: usual(
            *args, **{**options, "tools": BACKENDS[backend]}
        )
        metric.update(of.outputs, of.known)
        values: dict[str, Tensor] = metric.compute()
    finally:
        detection_metrics.average_precision = usual
    return values


def map_ways(of: Scene) -> dict[str, Callable[[], Any]]:
    """Return our scoring and torchmetrics', with every package that is installed; raise where they differ."""
    ways: dict[str, Callable[[], Any]] = {}
    for name in (name for name, tools in BACKENDS.items() if tools):
        ways[f"ours_{name}"] = lambda name=name: our_map(of, name)
        ways[f"torchmetrics_{name}"] = lambda name=name: torchmetrics_map(of, name)
    values = [way()["map"].float() for way in ways.values()]
    # torchmetrics' limits and recalls are rounded to float32, which moves a recall now and then.
    torch.testing.assert_close(values, [values[0]] * len(values), rtol=1e-3, atol=1e-4)
    return ways


def measure(ways: dict[str, Callable[[], Any]], repeats: int, device: str) -> Seconds:
    """Return (wall, processor) seconds of every way; the ways take turns, after one that isn't counted."""
    order = list(ways.items())
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in order[turn % len(order) :] + order[: turn % len(order)]:
            wall, processor = time.perf_counter(), time.process_time()
            way()
            if device == "cuda":
                torch.cuda.synchronize()
            if turn:
                taken[name].append((time.perf_counter() - wall, time.process_time() - processor))
    return {name: (median(turns, 0), median(turns, 1)) for name, turns in taken.items()}


def median(turns: list[tuple[float, float]], which: int) -> float:
    """Return the median of the wall (0) or processor (1) times."""
    return statistics.median(turn[which] for turn in turns)


def ratios(seconds: dict[str, Seconds], which: int) -> dict[str, float]:
    """Return how many times as long peers take as we do, of wall (0) or processor (1) time, by setting."""
    found = {}
    for setting, times in seconds.items():
        for name, taken in times.items():
            peer_name, _, what = name.partition("_")
            if peer_name != "ours":
                found[f"{peer_name}_{what}_{setting}"] = round(taken[which] / times[f"ours_{what}"][which], 3)
    return found


def growth(seconds: dict[str, Seconds], boxes: list[int], which: int) -> dict[str, float]:
    """Return how many times as long losses take with the most boxes as with the fewest."""
    few, many = min(boxes), max(boxes)
    first, last = seconds[str(few)], seconds[str(many)]
    return {
        f"{who}_{many}_over_{few}": round(last[f"{who}_loss"][which] / first[f"{who}_loss"][which], 3)
        for who in ("ours", "torchvision")
    }


def show(console: Console, title: str, seconds: Seconds) -> None:
    """Print what was measured."""
    table = Table("way", "wall ms", "processor ms", title=title)
    for name, (wall, processor) in seconds.items():
        table.add_row(name, f"{wall * 1e3:.1f}", f"{processor * 1e3:.1f}")
    console.print(table)


def counts(text: str) -> list[int]:
    """Read comma-separated numbers of boxes."""
    if not all(word.isdecimal() and int(word) > 0 for word in text.split(",")):
        raise argparse.ArgumentTypeError(f"'{text}' is no list of numbers of boxes: give them like 10,120")
    return [int(word) for word in text.split(",")]


def main() -> None:
    """Check, time, and print tables and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boxes", type=counts, default="10,30,120,300", help="boxes of an image, comma-separated")
    parser.add_argument("--batch", type=int, default=8, help="images of a batch")
    parser.add_argument("--size", type=int, default=800, help="pixels of a side")
    parser.add_argument("--repeats", type=int, default=5, help="turns that are counted")
    parser.add_argument("--images", type=int, default=500, help="images that torchmetrics scores, too")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    for name in ("batch", "size", "repeats", "images"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} {getattr(options, name)} measures nothing: give at least 1")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda needs a GPU, and PyTorch sees none here: measure on the cpu")

    console, began = Console(), time.perf_counter()
    seconds: dict[str, Seconds] = {}
    for boxes in options.boxes:
        of = data(options.batch, options.size, boxes, len(CLASSES), options.device)
        check(of)
        seconds[str(boxes)] = measure(ways_for(of), options.repeats, options.device)
        show(console, f"{boxes} boxes in each of {options.batch} images of {options.size} pixels", seconds[str(boxes)])
    grown = [growth(seconds, options.boxes, which) for which in (0, 1)]
    few = f"map_{options.images}"
    seconds[few] = measure(map_ways(scenes(options.images, options.size, len(CLASSES))), options.repeats, "cpu")
    show(console, f"scoring {options.images} images", seconds[few])
    whole = scenes(EVALUATED, options.size, len(CLASSES))
    names = [name for name, tools in BACKENDS.items() if tools]
    scoring = measure({name: lambda name=name: our_map(whole, name) for name in names}, 1, "cpu")
    show(console, f"scoring {EVALUATED} images", scoring)

    wall, processor = ({**ratios(seconds, which), **grown[which]} for which in (0, 1))
    answer: dict[str, Any] = {f"seconds_{EVALUATED}_{name}": round(taken[1], 2) for name, taken in scoring.items()}
    versions = {"torch": torch, "torchvision": torchvision, "torchmetrics": torchmetrics}
    answer |= {name: module.__version__ for name, module in versions.items()}
    answer |= {"threads": torch.get_num_threads(), "cpus": os.cpu_count(), "device": options.device}
    answer |= {"repeats": options.repeats, "seconds": round(time.perf_counter() - began)}
    print(json.dumps({**wall, "cpu": processor, **answer}))


if __name__ == "__main__":
    main()
