"""Steps of FixMatch on 32x32 images, made by ssmtl and written as usual: images a second, views and all.

A step takes B labeled and 7 B unlabeled images: one weak view of the first, a weak and a strong one of the others,
15 B in all, through WRN-28-2 and back, then SGD and the moving average. Ours is the engine's own TrainStep behind its
own loader: uint8 batches, views made of whole batches on the device, mixed precision, channels last. The usual way is
in `fixmatch_peer.py`: Pillow, RandAugment of torchvision in DataLoader workers, float32, contiguous. Before anything is
timed, loss and gradients of both must agree where views change nothing.

    python benchmarks/fixmatch_step.py --device cpu --threads 2 --workers 2 --repeats 3 --steps 3
    python benchmarks/fixmatch_step.py --device cuda --compile --workers 16 --steps 50 --warmup 32

Images are those of the phantom, drawn beforehand. The ways take turns of `--steps` steps, each turn with fresh workers
and with `--warmup` steps that don't count. Workers prepare two batches each before they are asked: waiting shows only
once `--warmup` has used them up. `images/s` counts the 8 B images of a step, `ratio` is how many times as many ours
treats, `waiting` is the share of the step spent in asking for a batch. All are medians over the turns.
`cpu_ratio` is of processor time, which other programs on the machine disturb less; that of workers isn't in it.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from fixmatch_peer import DECAY, LR, MOMENTUM, THRESHOLD, WEIGHT_DECAY, PeerStep, Pictures, endless, pipelines
from lightning.fabric import Fabric
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ssmtl.budget import LabelBudget
from ssmtl.datasets.shapes_phantom import LABELS, ShapesPhantom
from ssmtl.engine import Precision
from ssmtl.loader import OpenSources, open_sources, training_loader
from ssmtl.models.heads import LinearHead
from ssmtl.models.multitask import Model
from ssmtl.models.wide_resnet import WideResNet
from ssmtl.objective import Objective
from ssmtl.optimizers import SGD
from ssmtl.recipe import Recipe, Source, Views
from ssmtl.schedules import FixMatchCosine
from ssmtl.strategies.fixmatch import FixMatch
from ssmtl.streams import Explicit
from ssmtl.teacher import Teacher
from ssmtl.train_step import TrainStep
from ssmtl.views.policy import Policy
from ssmtl.views.presets import cifar_weak, fixmatch_strong
from ssmtl_tasks import Classification

TASK, MU, LABELED, STEPS = "shape", 7, 250, 2**20
ALIKE = 1e-5
CORES = os.cpu_count() or 1
NUMBERS = {
    "batch": (64, 1, "labeled images a step; seven times as many unlabeled ones"),
    "threads": (CORES, 1, "threads of the main process"),
    "workers": (CORES, 0, "processes that prepare batches; the usual way has one more, for labeled images"),
    "repeats": (3, 1, "turns of each way"),
    "steps": (3, 1, "counted steps of a turn"),
    "warmup": (1, 0, "steps of a turn that don't count"),
    "samples": (2000, 20, "different images"),
}
"""Default, smallest value and meaning of the options that are numbers."""


class Turn(NamedTuple):
    """Seconds per step, those of them spent in asking for a batch, and seconds of the processor without workers."""

    step: float
    waiting: float
    processor: float


def recipe(batch: int, samples: int, views: Views, threshold: float = THRESHOLD, side: int = 32) -> Recipe:
    """Return FixMatch as Sohn et al. 2020 train it on CIFAR-10, with 250 labels."""
    task = Classification(TASK, classes=LABELS, head=LinearHead(init="glorot"))
    return Recipe(
        name="fixmatch step",
        objectives=(Objective(task, FixMatch(threshold)),),
        sources=(Source("phantom", ShapesPhantom(canvas=(side, side), samples=samples), serves=(TASK,)),),
        model=Model(WideResNet(), channels=3),
        views=views,
        budget=LabelBudget(counts=((TASK, min(LABELED, samples // 2)),)),
        streams=Explicit(labeled=batch, unlabeled=MU * batch, unlabeled_includes_labeled=True, use_labels=False),
        optimizer=SGD(LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY),
        schedule=FixMatchCosine(),
        teacher=Teacher(decay=DECAY),
        steps=STEPS,
    )


def drawn(sources: OpenSources) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], list[int]]:
    """Return images [n, 32, 32, 3] and labels; each is drawn here, and remembered by the table."""
    samples = [sources.tables[0][row] for row in range(len(sources.coverage))]
    return np.stack([one.image.transpose(1, 2, 0) for one in samples]), [
        int(one.annotations["label"]) for one in samples
    ]


class Ours:
    """The engine's step: what `ssmtl.engine` does between two looks at its logs."""

    def __init__(self, sources: OpenSources, options: argparse.Namespace) -> None:
        self.sources, self.options = sources, options
        self.fabric = Fabric(accelerator=options.device, devices=1, precision=options.precision)
        torch.manual_seed(0)
        self.module = TrainStep(sources.recipe).train()
        if options.compile:
            self.module.student.encoder.compile()
        optimizer = sources.recipe.optimizer.build(self.module.student)
        self.wrapped, self.optimizer = self.fabric.setup(self.module, optimizer)
        self.done = 0

    def batches(self) -> Iterator[Any]:
        """Return what the engine's loader delivers from here on."""
        where = {"start": self.done, "stop": STEPS, "rank": 0, "world": 1}
        return training_loader(self.sources, **where, workers=self.options.workers, pin=self.options.device == "cuda")

    def __call__(self, batch: Any) -> Tensor:
        """Make one optimizer step and move the teacher; return the loss."""
        loss, _ = self.wrapped(batch.to(self.fabric.device, non_blocking=True), self.done, 0)
        self.fabric.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.module.update_teacher(self.done)
        self.done += 1
        return loss.detach()


class Usual:
    """The usual step, on the same images, from the same weights."""

    def __init__(self, sources: OpenSources, ours: TrainStep, options: argparse.Namespace) -> None:
        self.options = options
        self.step = PeerStep(tensors(ours), len(LABELS), options.device)
        weak, strong = pipelines()
        images, labels = drawn(sources)
        shown = np.flatnonzero(sources.coverage.visible[TASK])
        self.labeled = Pictures(images[shown], [labels[row] for row in shown], [weak])
        self.unlabeled = Pictures(images, labels, [weak, strong])

    def batches(self) -> Iterator[Any]:
        """Return pairs of a labeled and an unlabeled batch."""
        size, workers, pin = self.options.batch, self.options.workers, self.options.device == "cuda"
        labeled = endless(self.labeled, size, 1 if workers else 0, pin)
        return zip(labeled, endless(self.unlabeled, MU * size, workers, pin), strict=True)

    def __call__(self, batch: Any) -> Tensor:
        """Make one optimizer step and move the average; return the loss."""
        return self.step(*batch)


def tensors(step: TrainStep) -> list[Tensor]:
    """Return the student's tensors, in the order in which the network uses them."""
    parts = (step.student.encoder, step.student.heads[TASK])
    return [value.clone() for part in parts for value in part.state_dict().values()]


def check() -> None:
    """Raise unless loss and gradients are the usual ones, where views change nothing and all predictions teach."""
    still = Views(weak=Policy(), strong=Policy())
    sources = open_sources(recipe(2, 40, still, threshold=0.0, side=16))
    torch.manual_seed(0)
    # Rounding moves activations across the kink of the ReLU: gradients agree only in float64, from the same pixels.
    ours = TrainStep(sources.recipe).train().double()
    usual = PeerStep(tensors(ours), len(LABELS), "cpu", threshold=0.0)
    usual.network.double()
    batch = next(training_loader(sources, start=0, stop=1, rank=0, world=1, workers=0, pin=False))
    value, _ = ours(batch, 0)
    value.backward()
    images = (batch.images / 255).double() * 2 - 1
    expected = usual.loss(images[:2], batch.targets[TASK].labels[:2], images[2:], images[2:])
    expected.backward()
    found, wanted = (
        torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
        for network in (ours.student, usual.network)
    )
    difference = float((found - wanted).norm() / wanted.norm())
    if abs(float(value.detach() - expected.detach())) > ALIKE or not difference < ALIKE:
        raise AssertionError(f"losses {value} and {expected}, gradients {difference:.1e} apart")


def wait(device: str) -> None:
    """Let the device finish."""
    if device == "cuda":
        torch.cuda.synchronize()


def turn(way: Ours | Usual, options: argparse.Namespace) -> Turn:
    """Run a way for some steps with fresh workers, and return seconds per step that counts."""
    batches, waiting, start, processor = way.batches(), 0.0, 0.0, 0.0
    for step in range(options.warmup + options.steps):
        if step == options.warmup:
            wait(options.device)
            waiting, start, processor = 0.0, time.perf_counter(), time.process_time()
        asked = time.perf_counter()
        batch = next(batches)
        waiting += time.perf_counter() - asked
        way(batch)
    wait(options.device)
    spent = (time.perf_counter() - start, waiting, time.process_time() - processor)
    return Turn(*(seconds / options.steps for seconds in spent))


def measure(options: argparse.Namespace) -> dict[str, list[Turn]]:
    """Return every counted turn of both ways; they alternate, and each goes first as often as the other."""
    views = Views(weak=cifar_weak(), strong=fixmatch_strong())
    sources = open_sources(recipe(options.batch, options.samples, views))
    drawn(sources)
    ours = Ours(sources, options)
    ways: dict[str, Callable[[], Turn]] = {}
    for name, way in (("usual", Usual(sources, ours.module, options)), ("ssmtl", ours)):
        ways[name] = lambda way=way: turn(way, options)
    turns: dict[str, list[Turn]] = {name: [] for name in ways}
    for number in range(options.repeats):
        for name in sorted(ways, reverse=number % 2 == 0):
            turns[name].append(ways[name]())
    return turns


def summary(turns: dict[str, list[Turn]], batch: int) -> dict[str, float]:
    """Return images per second, shares spent waiting, and the ratio, from medians over the turns."""
    seconds = {name: statistics.median(one.step for one in taken) for name, taken in turns.items()}
    processor = {name: statistics.median(one.processor for one in taken) for name, taken in turns.items()}
    answer = {
        "ratio": seconds["usual"] / seconds["ssmtl"],
        "cpu_ratio": processor["usual"] / processor["ssmtl"],
    }
    for name, taken in turns.items():
        answer[f"images_{name}"] = (1 + MU) * batch / seconds[name]
        answer[f"waiting_{name}"] = statistics.median(one.waiting / one.step for one in taken)
    return answer


def show(turns: dict[str, list[Turn]], answer: dict[str, float], title: str) -> None:
    """Print the table."""
    table = Table("way", "images/s", "median s a step", "fastest s", "processor s", "waiting", "ratio", title=title)
    for name, taken in turns.items():
        steps = [one.step for one in taken]
        ratio = answer["ratio"] if name == "ssmtl" else 1.0
        processor = statistics.median(one.processor for one in taken)
        cells = (f"{seconds:.4f}" for seconds in (statistics.median(steps), min(steps), processor))
        waiting = f"{answer[f'waiting_{name}']:.1%}"
        table.add_row(name, f"{answer[f'images_{name}']:.0f}", *cells, waiting, f"{ratio:.2f}")
    Console().print(table)


def arguments() -> argparse.Namespace:
    """Read the command line; refuses numbers that measure nothing, and a GPU that isn't there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=get_args(Precision), default="bf16-mixed", help="of ours")
    parser.add_argument("--compile", action="store_true", help="compile the encoder of ours")
    for name, (default, _, text) in NUMBERS.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=text)
    options = parser.parse_args()
    for name, (_, least, _) in NUMBERS.items():
        if getattr(options, name) < least:
            parser.error(f"--{name} {getattr(options, name)} is too small: give at least {least}")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda needs a GPU, and PyTorch sees none here: measure on the cpu")
    return options


def main() -> None:
    """Check, time, and print a table and one line of JSON."""
    options = arguments()
    torch.set_num_threads(options.threads)
    check()
    turns = measure(options)
    answer = summary(turns, options.batch)
    device = torch.cuda.get_device_name() if options.device == "cuda" else f"cpu, {options.threads} threads"
    show(turns, answer, f"{device}, {options.precision}, {options.batch} + {MU} x {options.batch} images")
    versions = {"torch": torch.__version__, "device_name": device}
    print(json.dumps({**{name: round(value, 4) for name, value in answer.items()}, **vars(options), **versions}))


if __name__ == "__main__":
    main()
