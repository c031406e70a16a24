"""One optimizer step of MultiMix, computed as the reference does and as a plan that runs only what a loss reads.

The reference sends all 5m images (m each: labeled and unlabeled lung films, labeled, weak and strong chest films)
through encoder, classifier and decoder with gradients, and before that makes saliency maps of all of them with a
backward pass that reaches the weights. The plan is the engine's own TrainStep: 4m rows with gradients, the m weak rows
without, the classifier on 3m rows, decoder and bridge on the 2m lung rows, a few images at a time. Both are the same
modules on the same inputs (weak and strong view alike), with the losses of MELBA Eq. 1-5; without dropout losses and
gradients must agree before anything is timed.

    python benchmarks/multimix_step.py --size 256 --m 10 --repeats 5 --threads 2

`ratio` is of wall time, `cpu_ratio` of processor time, which other programs on the machine disturb less. The plan with
all rows at once shows what running only what is read gives; the rest comes from memory that stays small and warm.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from unittest.mock import patch

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional

from ssmtl.batch import Batch
from ssmtl.datasets.chest_phantom import ChestPhantom
from ssmtl.models import multitask
from ssmtl.models.heads import LinearHead
from ssmtl.models.multimix_unet import MultiMixDecoder, MultiMixEncoder
from ssmtl.models.multitask import Model
from ssmtl.models.saliency_bridge import SaliencyBridge
from ssmtl.objective import Objective
from ssmtl.recipe import Recipe, Source
from ssmtl.strategies.fixmatch import FixMatch
from ssmtl.strategies.prediction_matching import PredictionMatching
from ssmtl.task import IGNORE_INDEX
from ssmtl.train_step import TrainStep
from ssmtl_tasks import Classification, Dice, Labels, Segmentation

THRESHOLD, LAMBDA, ALPHA, BETA = 0.7, 0.25, 5.0, 0.01


@dataclass(frozen=True)
class Films:
    """Images uint8, four groups of m: chest labeled, chest unlabeled, lungs labeled, lungs unlabeled; views bare."""

    images: Tensor
    labels: Tensor
    masks: Tensor
    m: int

    def batch(self) -> Batch:
        """Return what the loader would hand to the training step."""
        m, n = self.m, 4 * self.m
        rows = torch.arange(n)
        chest, first, third = rows < 2 * m, rows < m, (rows >= 2 * m) & (rows < 3 * m)
        labels, weights = torch.zeros(n, dtype=torch.int64), torch.zeros(n, *self.masks.shape[1:])
        labels[:m] = self.labels
        masks = torch.full(weights.shape, IGNORE_INDEX)
        masks[third], weights[third] = self.masks, 1.0
        return Batch(
            images=self.images,
            size=torch.tensor(self.images.shape[2:]).expand(n, 2),
            targets={"chest": Labels(labels, first.float()), "lungs": Labels(masks, weights)},
            audit={},
            served={"chest": chest, "lungs": ~chest},
            labeled={"chest": first, "lungs": third},
            sources=(~chest).long(),
            positions=rows,
            names=tuple(map(str, rows.tolist())),
        )


def build(dropout: float, size: int) -> TrainStep:
    """Build the training step of the published method, in training mode, the weights always the same."""
    torch.manual_seed(0)
    lungs = Segmentation("lungs", classes=("lung",), loss=Dice(), head=MultiMixDecoder(dropout=dropout))
    chest = Classification("chest", classes=("normal", "pneumonia"), head=LinearHead(max_pool=True))
    films = ChestPhantom(canvas=(size, size))
    recipe = Recipe(
        name="step",
        objectives=(
            Objective(chest, FixMatch(threshold=THRESHOLD), lam=LAMBDA),
            Objective(lungs, PredictionMatching(), gamma=ALPHA, lam=BETA / ALPHA),
        ),
        sources=(Source("films", films, serves=("chest",)), Source("lung films", films, serves=("lungs",))),
        model=Model(MultiMixEncoder(dropout=dropout), bridge=SaliencyBridge("chest", "lungs")),
    )
    return TrainStep(recipe).train()


def films(m: int, size: int) -> Films:
    """Draw films; their content does not matter to the time."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (4 * m, 1, size, size), generator=generator, dtype=torch.uint8)
    return Films(images, torch.arange(m) % 2, torch.randint(0, 2, (m, size, size), generator=generator), m)


def loss(lungs: Tensor, chest: Tensor, weak: Tensor, strong: Tensor, batch: Films) -> Tensor:
    """Sum the terms of MELBA Eq. 1, 2 and 5 from logits of the lung films, labeled first, and of the chest films."""
    labeled, unlabeled = lungs[: batch.m], lungs[batch.m :]
    confidence, pseudo = weak.detach().softmax(dim=1).max(dim=1)
    consistent = functional.cross_entropy(strong, pseudo, reduction="none") * (confidence >= THRESHOLD)
    p, s = labeled.sigmoid(), batch.masks[:, None].float()
    dice = 1 - (2 * (p * s).sum(dim=(1, 2, 3)) + 1) / (p.sum(dim=(1, 2, 3)) + s.sum(dim=(1, 2, 3)) + 1)
    target = labeled.detach().sigmoid()
    entropy = functional.binary_cross_entropy_with_logits(labeled.detach(), target)
    divergence = functional.binary_cross_entropy_with_logits(unlabeled, target) - entropy
    supervised = functional.cross_entropy(chest, batch.labels)
    return supervised + LAMBDA * consistent.mean() + ALPHA * dice.mean() + BETA * divergence


def reference(step: TrainStep, batch: Films) -> Tensor:
    """Everything for everyone: saliency of all films by a full backward pass, then one pass of all films."""
    m, model = batch.m, step.student
    size = (batch.images.shape[2], batch.images.shape[3])
    chest_labeled, chest_unlabeled, *lung_films = batch.images.split(m)
    films_ = torch.cat([*lung_films, chest_labeled, chest_unlabeled, chest_unlabeled]).float() / 255.0
    images = (films_ - model.mean) / model.std
    leaf = images.clone().requires_grad_()
    model.encoder.eval()
    model.heads["chest"](model.encoder(leaf), size, None).amax(dim=1).sum().backward()
    model.zero_grad()
    model.encoder.train()
    assert leaf.grad is not None
    extra = torch.cat([images, leaf.grad.abs()], dim=1)
    features = model.encoder(images)
    chest, lungs = model.heads["chest"](features, size, None), model.heads["lungs"](features, size, extra)
    return loss(lungs[: 2 * m], *chest[2 * m :].split(m), batch=batch)


def plan(step: TrainStep, batch: Films) -> Tensor:
    """Run the engine's own training step: each film where a loss reads it, gradients only where one flows."""
    value: Tensor = step(batch.batch(), 0)[0]
    return value


def whole_batch(step: TrainStep, batch: Films) -> Tensor:
    """Run the plan with all rows at once."""
    with patch.object(multitask, "PIXELS_AT_ONCE", batch.images.numel()):
        return plan(step, batch)


WAYS: dict[str, Callable[[TrainStep, Films], Tensor]] = {
    "reference": reference,
    "plan, all rows at once": whole_batch,
    "plan": plan,
}


def check(batch: Films) -> None:
    """Raise unless all ways give the same loss and the same gradient, to a thousandth, when dropout is off."""
    results = []
    for way in WAYS.values():
        step = build(0.0, batch.images.shape[2])
        value = way(step, batch)
        value.backward()
        gradients = [p.grad.flatten() for p in step.student.parameters() if p.grad is not None]
        results.append((float(value.detach()), torch.cat(gradients)))
    for value, gradient in results[1:]:
        difference = (gradient - results[0][1]).norm() / results[0][1].norm()
        if abs(value - results[0][0]) > 1e-4 or difference > 1e-3:
            raise AssertionError(f"losses {value} and {results[0][0]}, gradients {difference:.1e} apart")


def measure(batch: Films, repeats: int) -> dict[str, list[tuple[float, float]]]:
    """Return (wall, processor) seconds of every repeat; the ways take turns, the first turn is not counted."""
    step = build(0.25, batch.images.shape[2])
    optimizer = torch.optim.Adam(step.student.parameters(), lr=1e-4)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    for _ in range(repeats + 1):
        for name, way in WAYS.items():
            wall, processor = time.perf_counter(), time.process_time()
            optimizer.zero_grad()
            way(step, batch).backward()
            optimizer.step()
            seconds[name].append((time.perf_counter() - wall, time.process_time() - processor))
    return {name: taken[1:] for name, taken in seconds.items()}


def main() -> None:
    """Check, time, and print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag, default in (("--size", 256), ("--m", 10), ("--repeats", 5), ("--threads", 2)):
        parser.add_argument(flag, type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    batch = films(options.m, options.size)
    check(films(2, min(options.size, 64)))
    seconds = measure(batch, options.repeats)
    wall, processor = ({k: statistics.median(t[i] for t in v) for k, v in seconds.items()} for i in (0, 1))

    table = Table("way", "median s", "fastest s", "processor s", "reference is slower by")
    for name, taken in seconds.items():
        fastest = min(t[0] for t in taken)
        ratio = wall["reference"] / wall[name]
        table.add_row(name, f"{wall[name]:.2f}", f"{fastest:.2f}", f"{processor[name]:.2f}", f"{ratio:.2f}")
    Console().print(table)
    answer = {
        "ratio": wall["reference"] / wall["plan"],
        "cpu_ratio": processor["reference"] / processor["plan"],
        "ratio_all_rows_at_once": wall["reference"] / wall["plan, all rows at once"],
    }
    print(json.dumps({**{k: round(v, 3) for k, v in answer.items()}, **vars(options)}))


if __name__ == "__main__":
    main()
