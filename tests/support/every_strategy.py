"""Two steps of every strategy for unlabeled images, one after the other: `every_strategy.py OUT DEVICES`.

In one script, since starting processes takes longer than all of them together.
"""

import os
import sys
from pathlib import Path

from kinds import study

from ssmtl.engine import Options, train
from ssmtl.models.multimix_unet import MultiMixEncoder
from ssmtl.models.multitask import Model
from ssmtl.optimizers import SGD
from ssmtl.runs import RunFolder
from ssmtl.strategies.fixmatch import FixMatch
from ssmtl.strategies.mean_teacher import MeanTeacher
from ssmtl.strategies.mixmatch import MixMatch
from ssmtl.strategies.ood_mask import OODMask
from ssmtl.strategies.pi_model import PiModel
from ssmtl.strategies.pseudo_label import PseudoLabel
from ssmtl.strategies.realmix import RealMix
from ssmtl.strategies.supervised import Supervised
from ssmtl.strategies.tsa import TSA
from ssmtl.strategies.vat import VAT

ROW_WISE = {
    "supervised": Supervised(tsa=TSA()),
    "pseudo-label": PseudoLabel(threshold=0.1),
    "pi-model": PiModel(),
    "mean-teacher": MeanTeacher(),
    "vat": VAT(xi=1e-3),  # at the published 1e-6 rounding has a say in the direction
    "fixmatch": FixMatch(threshold=0.1),
}
"""A row's loss is its own: on a network without batch statistics, it doesn't matter who computes it."""
POOLED = {
    "mixmatch": MixMatch(),
    "realmix": RealMix(ood_mask=OODMask(0.5), tsa=TSA()),
    "fixmatch-masked": FixMatch(threshold=0.1, ood_mask=OODMask(0.5)),
}
"""Rows meet other rows of their process."""


def recipes():
    """Return a short recipe for each: the row-wise ones without batch normalization, the others with it."""
    alone = Model(MultiMixEncoder(channels=(8, 16, 32), dropout=0.0), channels=3)
    short = {"steps": 2, "eval_every": 1, "test": (), "optimizer": SGD(lr=0.001)}
    found = {name: study(strategy, foreign=2, model=alone, **short) for name, strategy in ROW_WISE.items()}
    return found | {name: study(strategy, foreign=2, **short) for name, strategy in POOLED.items()}


def run_all(out, devices):
    """Train all of them into folders of `out`."""
    first = os.environ.get("LOCAL_RANK", "0") == "0"
    for name, recipe in recipes().items():
        folder = RunFolder.create(out / name, recipe, name) if first else RunFolder(out / name)
        assert train(recipe, folder, Options(devices, accelerator="cpu", workers=0, quiet=True))


if __name__ == "__main__":
    run_all(Path(sys.argv[1]), int(sys.argv[2]))
