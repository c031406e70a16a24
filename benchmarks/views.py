"""The strong view of a batch, with what moves along, made by ssmtl and by what its users would otherwise pick.

The view is a flip, two RandAugment ops of 14 (13 for gray images) and a blank square of 10 to 30 %, from uint8 images
to float32 ones. A "dense" way also brings an int64 label map and 20 boxes an image from the weak view, a flip drawn
beforehand, into the strong one. The ways:

- ours: `Policy.sample`, with two ops of its own for every image, and `render`; dense with `between`, `move_labels`,
  `move_boxes` and the map of valid pixels.
- kornia_dense: Kornia's own pipeline of a batch, two ops for all of it, on images, masks and boxes, after the inverse
  of the weak view. kornia_looped: the same on one image at a time, so that each has ops of its own; images only.
- torchvision: transforms.v2 on one uint8 image at a time. pillow: on one decoded picture at a time. Both images only.
- floor: a copy of the bytes that are handed on.

    python benchmarks/views.py --threads 1,2 --repeats 5

Every turn makes the same draws, one per op of the pool; in Kornia's each op comes twice. A way's time is the median of
its turns for each draw, averaged over the draws. Peers are slower, and ours are slower than the floor, by the ratios in
the last line: of wall time, and under "cpu" of processor time, which other programs on the machine disturb less; with
several threads it counts their spinning while they wait for each other, too.
"""

import argparse
import json
import os
import random
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, ParamSpec, TypeAlias, TypeVar
from unittest.mock import patch

import kornia
import numpy as np
import PIL
import torch
import torchvision
from rich.console import Console
from rich.table import Table
from torch import Tensor
from views_peers import (
    AREA,
    CLASSES,
    GRAY,
    IGNORE,
    Data,
    Shape,
    Way,
    data,
    kornia_source,
    kornia_ways,
    pillow_ways,
    torchvision_ways,
)

from ssmtl.keyed import key
from ssmtl.views import boxes, movement, moving
from ssmtl.views import render as rendering
from ssmtl.views.erasing import Cutout
from ssmtl.views.geometry import between
from ssmtl.views.policy import Policy
from ssmtl.views.presets import POOL_DENSE
from ssmtl.views.warps import HorizontalFlip

P = ParamSpec("P")
T = TypeVar("T")
Seconds: TypeAlias = dict[str, tuple[float, float]]

SHAPES = "8x3x256x256,2x3x800x800,8x1x256x256,448x3x32x32"
ROUNDED = 1e-4
"""Share of pixels that may be on the one side of the image's border for labels and on the other for `valid`."""
LARGE, EVERY = 64, 7
"""Of batches this large the looped way, a thousand ops of each draw, takes its turn in every 7th draw only."""
RATIOS = {
    "kornia_dense": ("kornia_dense", "ours_dense"),
    "kornia_looped": ("kornia_looped", "ours_image"),
    "torchvision": ("torchvision", "ours_image"),
    "pillow": ("pillow", "ours_image"),
    "floor_dense": ("ours_dense", "floor_dense"),
    "floor_image": ("ours_image", "floor_image"),
}


def our_ways(of: Data) -> dict[str, Way]:
    """Return our two ways."""
    policy = Policy(
        always=(HorizontalFlip(), Cutout(area=AREA, fill=GRAY)),
        pool=tuple(POOL_DENSE[i] for i in of.pool),
        num_ops=2,
        distinct=True,
    )

    def image(draw: int) -> tuple[Tensor, ...]:
        return (rendering.render(of.images, policy.sample(key("strong", draw), of.rows, of.size)).image,)

    def dense(draw: int) -> tuple[Tensor, ...]:
        view = rendering.render(of.images, policy.sample(key("strong", draw), of.rows, of.size))
        onward = between(of.weak, view.geometry)
        moved, present = boxes.move_boxes(of.boxes, of.present, onward)
        return view.image, moving.move_labels(of.labels, onward, IGNORE), moved, present, view.valid

    return {"ours_dense": dense, "ours_image": image}


def floors(of: Data) -> dict[str, Way]:
    """Return copies of what our ways hand on."""
    image, valid = of.images.float(), torch.ones_like(of.labels, dtype=torch.bool)
    return {
        "floor_dense": lambda _: (image.clone(), of.labels.clone(), valid.clone()),
        "floor_image": lambda _: (image.clone(),),
    }


def ways_for(of: Data) -> dict[str, Way]:
    """Return all ways; on a GPU those that work on whole batches."""
    kornia_, ours = kornia_ways(of), our_ways(of)
    if of.images.is_cuda:
        return {"kornia_dense": kornia_["kornia_dense"], **ours, **floors(of)}
    return {**kornia_, **torchvision_ways(of), **pillow_ways(of), **ours, **floors(of)}


@torch.no_grad()
def check(of: Data) -> None:
    """Raise unless the ways do what is said of them: nothing, the same weak view, and images like ours."""
    still = rendering.render(of.images, Policy().sample(0, of.rows, of.size))
    back = moving.move_labels(of.labels, between(of.weak, still.geometry), IGNORE)
    theirs = kornia_source(of)()[0][:, 0]
    assert torch.equal(still.image, of.images / 255), "a view that changes nothing changed something"
    assert torch.equal(back, theirs), "Kornia and we differ in what the weak view showed"
    for name, way in ways_for(of).items():
        if name.startswith("floor"):
            continue
        torch.manual_seed(0)
        image, *moved = way(0)
        assert image.shape == of.images.shape, f"{name} returned {tuple(image.shape)}"
        assert image.dtype == torch.float32, f"{name} returned {image.dtype}"
        assert 0 <= float(image.amin()) <= float(image.amax()) <= 1, f"{name} left [0, 1]"
        if moved:
            assert moved[0].shape == of.labels.shape, f"{name} returned labels {tuple(moved[0].shape)}"
            assert moved[1].shape == of.boxes.shape, f"{name} returned boxes {tuple(moved[1].shape)}"
    _, labels, corners, present, valid = our_ways(of)["ours_dense"](0)
    assert set(labels.unique().tolist()) <= {*range(CLASSES), IGNORE}, "labels of no class"
    stray = (labels[~valid] != IGNORE).float().mean()
    assert not stray > ROUNDED, f"{float(stray):.1e} of what shows nothing has labels"
    limits = torch.tensor(of.size[::-1] * 2, device=corners.device)
    assert bool(((corners >= 0) & (corners <= limits)).all()), "boxes outside of the view"
    assert bool(present.any()), "all boxes lost"


def wait(of: Data) -> None:
    """Let the device finish."""
    if of.images.is_cuda:
        torch.cuda.synchronize()


@torch.no_grad()
def measure(of: Data, repeats: int) -> Seconds:
    """Return (wall, processor) seconds of every way; the ways take turns, after one draw that isn't counted."""
    ways = list(ways_for(of).items())
    taken: dict[str, list[list[tuple[float, float]]]] = {name: [[] for _ in of.pool] for name, _ in ways}
    for turn in range(repeats + 1):
        for draw in range(len(of.pool) if turn else 1):
            for name, way in ways[turn % len(ways) :] + ways[: turn % len(ways)]:
                if name == "kornia_looped" and len(of.images) >= LARGE and draw % EVERY:
                    continue
                torch.manual_seed(draw)
                random.seed(draw)
                wait(of)
                wall, processor = time.perf_counter(), time.process_time()
                way(draw)
                wait(of)
                if turn:
                    taken[name][draw].append((time.perf_counter() - wall, time.process_time() - processor))
    return {name: typical([one for one in draws if one]) for name, draws in taken.items()}


def typical(draws: list[list[tuple[float, float]]]) -> tuple[float, float]:
    """Return the average over draws of the median over turns, of wall and processor time."""
    wall, processor = (statistics.mean(statistics.median(t[i] for t in one) for one in draws) for i in (0, 1))
    return wall, processor


class Clock:
    """Time spent in functions, without that in others that are timed too."""

    def __init__(self, of: Data) -> None:
        self.of = of
        self.spent: dict[str, float] = {}
        self.inner = [0.0]

    def timed(self, name: str, function: Callable[P, T]) -> Callable[P, T]:
        """Return the function, timed under a name."""

        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            wait(self.of)
            start = time.perf_counter()
            self.inner.append(0.0)
            result = function(*args, **kwargs)
            wait(self.of)
            took = time.perf_counter() - start
            self.spent[name] = self.spent.get(name, 0.0) + took - self.inner.pop()
            self.inner[-1] += took
            return result

        return run


@torch.no_grad()
def stages(of: Data, repeats: int) -> dict[str, float]:
    """Return seconds that our dense way spends in each of its stages, measured as in `measure`."""
    places: tuple[tuple[str, Any, str], ...] = (
        ("sample", Policy, "sample"),
        ("levels: tables, histograms, filters", rendering, "retouch"),
        ("move image, to float", movement.Movement, "run"),
        ("what lies outside, valid", movement, "shown"),
        ("cutout", rendering, "cut"),
        ("labels", moving, "move_labels"),
        ("boxes", boxes, "move_boxes"),
    )
    names = [*(name for name, _, _ in places), "compose maps, join masks"]
    taken: dict[str, list[list[tuple[float, float]]]] = {name: [[] for _ in of.pool] for name in names}
    way = our_ways(of)["ours_dense"]
    for turn in range(repeats + 1):
        for draw in range(len(of.pool) if turn else 1):
            clock = Clock(of)
            with ExitStack() as patches:
                for name, owner, attribute in places:
                    patches.enter_context(patch.object(owner, attribute, clock.timed(name, getattr(owner, attribute))))
                clock.timed(names[-1], way)(draw)
            for name in names if turn else ():
                taken[name][draw].append((clock.spent.get(name, 0.0), 0.0))
    return {name: typical(draws)[0] for name, draws in taken.items()}


def waits(of: Data) -> str:
    """Return what made the host wait for the GPU in our dense way once it is warm, or nothing."""
    way = our_ways(of)["ours_dense"]
    way(0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for draw in range(len(of.pool)):
            way(draw)
    except RuntimeError as error:
        return str(error)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return ""


def show(console: Console, title: str, seconds: Seconds, parts: dict[str, float]) -> dict[str, tuple[float, float]]:
    """Print what was measured, and return the ratios of wall and processor time."""
    table = Table("way", "wall ms", "processor ms", title=title)
    for name, (wall, processor) in seconds.items():
        table.add_row(name, f"{wall * 1e3:.2f}", f"{processor * 1e3:.2f}")
    console.print(table)
    table = Table("stage of ours_dense", "wall ms", "share", title=title)
    for name, wall in parts.items():
        table.add_row(name, f"{wall * 1e3:.2f}", f"{wall / sum(parts.values()):.0%}")
    console.print(table)
    ratios = {}
    for name, (slow, fast) in RATIOS.items():
        if slow in seconds and fast in seconds:
            (a, b), (c, d) = seconds[slow], seconds[fast]
            ratios[name] = (a / c, b / d)
    return ratios


def shapes(text: str) -> list[Shape]:
    """Read comma-separated shapes, NxCxHxW."""
    read = [tuple(int(side) if side.isdecimal() else 0 for side in word.split("x")) for word in text.split(",")]
    found: list[Shape] = [(s[0], s[1], s[2], s[3]) for s in read if len(s) == 4 and s[1] in (1, 3) and min(s) > 0]
    if len(found) != len(read):
        raise argparse.ArgumentTypeError(f"'{text}' is no list of shapes: give images as NxCxHxW, like 8x3x256x256")
    return found


def counts(text: str) -> list[int]:
    """Read comma-separated numbers of threads."""
    if not all(word.isdecimal() and int(word) > 0 for word in text.split(",")):
        raise argparse.ArgumentTypeError(f"'{text}' is no list of numbers of threads: give them like 1,2")
    return [int(word) for word in text.split(",")]


def main() -> None:
    """Check, time, and print tables and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="turns that are counted")
    parser.add_argument("--threads", type=counts, default="1,2", help="numbers of threads of the CPU")
    parser.add_argument("--shapes", type=shapes, default=SHAPES, help="NxCxHxW, comma-separated")
    parser.add_argument("--device", choices=("cpu", "cuda", "both"), help="the CPU, and a GPU where there is one")
    options = parser.parse_args()
    if options.repeats < 1:
        parser.error(f"--repeats {options.repeats} measures nothing: count at least one turn")
    if options.device in ("cuda", "both") and not torch.cuda.is_available():
        parser.error(f"--device {options.device} needs a GPU, and PyTorch sees none here: measure on the cpu")
    settings = [] if options.device == "cuda" else [("cpu", threads, f"{threads}t") for threads in options.threads]
    if options.device != "cpu" and torch.cuda.is_available():
        settings.append(("cuda", max(options.threads), "cuda"))

    console, began = Console(), time.perf_counter()
    wall: dict[str, float] = {}
    processor: dict[str, float] = {}
    answer: dict[str, Any] = {}
    for device, threads, setting in settings:
        torch.set_num_threads(threads)
        for shape in options.shapes:
            of = data(shape, device)
            check(of)
            name = f"{'x'.join(map(str, shape))}_{setting}"
            for way, ratio in show(console, name, measure(of, options.repeats), stages(of, options.repeats)).items():
                wall[f"{way}_{name}"], processor[f"{way}_{name}"] = (round(one, 3) for one in ratio)
            if of.images.is_cuda:
                answer[f"waits_{name}"] = waits(of)
    versions = {"torch": torch, "kornia": kornia, "torchvision": torchvision, "pillow": PIL, "numpy": np}
    answer |= {name: module.__version__ for name, module in versions.items()}
    answer |= {"cpus": os.cpu_count(), "repeats": options.repeats, "seconds": round(time.perf_counter() - began)}
    print(json.dumps({**wall, "cpu": processor, **answer}))


if __name__ == "__main__":
    main()
