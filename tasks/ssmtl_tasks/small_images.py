"""The study of one classifier of small images under each semi-supervised method, with that method's own settings.

RealMix (Nair et al. 2019) compares with the methods of MixMatch's program (Berthelot et al. 2019), whose settings these
are; FixMatch has its own (Sohn et al. 2020). The recipes differ in which images are labeled; what they share is here.
"""

from pathlib import Path
from typing import Literal, NamedTuple

from ssmtl.datasets.base import Reader
from ssmtl.datasets.extend import Extend
from ssmtl.datasets.small_images import SmallImages
from ssmtl.datasets.subset import Subset
from ssmtl.errors import RecipeError
from ssmtl.models.heads import LinearHead
from ssmtl.models.multitask import Model
from ssmtl.models.wide_resnet import WideResNet
from ssmtl.objective import Objective
from ssmtl.optimizers import SGD, AdamW, Optimizer
from ssmtl.recipe import Recipe, Source, Split, Views
from ssmtl.schedules import Constant, FixMatchCosine, LinearRamp, Schedule
from ssmtl.strategies.base import Strategy
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
from ssmtl.streams import Explicit
from ssmtl.teacher import Teacher
from ssmtl.views.presets import cifar_weak, fixmatch_strong
from ssmtl_tasks.classification import Classification

MethodName = Literal["supervised", "pseudo-label", "pi-model", "mean-teacher", "vat", "mixmatch", "realmix", "fixmatch"]
Augmentation = Literal["cutout", "simple", "none"]
NetworkName = Literal["wrn-28-2", "wrn-16-2", "wrn-10-2", "wrn-10-1"]
TASK = "kind"
PAPER = "realmix"
PAPER_NAMES = {
    "supervised": "Supervised",
    "pi-model": "Pi-Model",
    "mean-teacher": "Mean Teacher",
    "vat": "VAT",
    "mixmatch": "MixMatch",
    "realmix": "RealMix",
}
"""What the tables of RealMix call the methods that they print."""
FROM_40_PERCENT, FROM_16384 = LinearRamp(0.4), LinearRamp(0.16, over=16_384)


class Method(NamedTuple):
    """How a method is trained on CIFAR-10: its strategy, lambda, how that rises, weight decay, and unlabeled rows."""

    strategy: Strategy
    lam: float = 1.0
    ramp: Schedule = FROM_40_PERCENT
    decay: float = 0.02
    unlabeled: int = 1
    """Unlabeled rows of a batch for each labeled one."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """AdamW at a constant rate, as in MixMatch's program, or SGD along a cosine, as in FixMatch's."""


SUPERVISED = Method(Supervised(), unlabeled=0)
METHODS: dict[str, Method] = {
    "supervised": SUPERVISED,
    "pseudo-label": Method(PseudoLabel()),
    "pi-model": Method(PiModel(), lam=20.0),
    "mean-teacher": Method(MeanTeacher(), lam=50.0, decay=0.2),
    "vat": Method(VAT(), lam=0.3),
    "mixmatch": Method(MixMatch(), lam=75.0, ramp=FROM_16384),
    "realmix": Method(RealMix(), lam=75.0, ramp=FROM_16384),
    "fixmatch": Method(FixMatch(), ramp=Constant(), decay=5e-4, unlabeled=7, optimizer="sgd"),
}
"""Settings for CIFAR-10: Berthelot et al. 2019, Nair et al. 2019, their programs, and Sohn et al. 2020."""

SVHN: dict[str, Method] = {
    "pseudo-label": METHODS["pseudo-label"]._replace(lam=2.0),
    "pi-model": METHODS["pi-model"]._replace(lam=5.0, decay=0.2),
    "mean-teacher": METHODS["mean-teacher"]._replace(lam=150.0),
    "mixmatch": METHODS["mixmatch"]._replace(lam=250.0),
}
"""Settings for SVHN without its extra images, where they differ."""
SHAPES = {"mean-teacher": METHODS["mean-teacher"]._replace(lam=10.0)}
"""Settings for phantoms, where they differ: in their few steps, a lambda of 50 holds the student back."""


class Scale(NamedTuple):
    """How large a study is: the network, the batch's labeled images, averages, steps, and steps between evaluations."""

    network: NetworkName
    batch: int
    ema: float
    bn_momentum: float
    steps: int
    eval_every: int

    def encoder(self, weights: Path | None = None) -> WideResNet:
        """Return the network; `weights` is the run that it starts from."""
        _, depth, width = self.network.split("-")
        return WideResNet(depth=int(depth), width=int(width), bn_momentum=self.bn_momentum, weights=weights)

    def but(self, **given: object) -> "Scale":
        """Return the scale with what was given; None leaves a value."""
        return Scale(**{**self._asdict(), **{name: value for name, value in given.items() if value is not None}})


PHANTOMS = Scale("wrn-10-1", batch=32, ema=0.99, bn_momentum=0.05, steps=1000, eval_every=10)
FILES = Scale("wrn-28-2", batch=64, ema=0.999, bn_momentum=0.01, steps=20_000, eval_every=200)
"""Shorter than any of the papers: these take a momentum of 0.001, and 500,000 steps or more."""


def method_for(name: MethodName, dataset: str) -> Method:
    """Return a method's settings for a set."""
    other = {"SVHN": SVHN, "phantoms": SHAPES}.get(dataset, {})
    return other.get(name, METHODS[name])


def per_class(labels: int, classes: int) -> int:
    """Return how many labels each class gets; raises RecipeError unless that is a whole number above 0."""
    if labels < classes or labels % classes:
        below = max(classes, labels - labels % classes)
        raise RecipeError(
            f"{labels} labels can't be spread evenly over {classes} classes, of which each needs at least one; take "
            f"{below} or {below + classes}."
        )
    return labels // classes


def with_parts(method: Method, *, tsa: bool, gamma: float) -> Method:
    """Return a method with RealMix's parts on its strategy: training signal annealing, and a mask for `gamma` > 0.

    Raises RecipeError for a mask of a method that reads no unlabeled image.
    """
    if gamma and not method.unlabeled:
        raise RecipeError(
            f"--gamma {gamma:g} would drop unlabeled images, and this method reads none; leave --gamma out, or name a "
            "semi-supervised --method."
        )
    parts = {"tsa": TSA() if tsa else None, "ood_mask": OODMask(gamma) if gamma else None}
    return method._replace(strategy=method.strategy.replace(**{name: part for name, part in parts.items() if part}))


def copies(
    reader: Reader, images: SmallImages, name: MethodName, aug: Augmentation | None, rounds: int | None
) -> Reader:
    """Return unlabeled images as a method reads them: RealMix in 50 copies with blanks, others as they are.

    `aug` and `rounds` ask for other copies. Raises RecipeError for a number of copies where none are made.
    """
    if name == "supervised" and aug:
        raise RecipeError(
            f"--extend {aug} copies unlabeled images, and the supervised baseline reads none; leave it out."
        )
    if name != "realmix" and not aug:
        if rounds is not None:
            raise RecipeError(f"--extend-rounds {rounds} counts copies, and {name} makes none; name --extend too.")
        return reader
    return Extend(reader=reader, rounds=50 if rounds is None else rounds, aug=aug or "cutout", flip=images.flip)


def study(
    images: SmallImages,
    name: str,
    method: Method,
    *,
    classes: tuple[str, ...],
    labeled: Reader,
    unlabeled: Reader,
    scale: Scale,
    weights: Path | None = None,
    lr: float | None,
    test_last: int,
    seed: int,
    data: Path | None,
) -> Recipe:
    """Return the recipe of one method: everything but its published row.

    `unlabeled` is a source of its own whose labels only measure what the method guesses. The supervised baseline
    doesn't read it.
    """
    task = Classification(name=TASK, classes=classes, head=LinearHead(init="glorot"))
    sources = [Source("labeled", labeled, serves=(TASK,))]
    if method.unlabeled:
        sources.append(Source("unlabeled", unlabeled, serves=(TASK,), hide_labels=True))
    optimizer, schedule = _optimizer(method, lr)
    return Recipe(
        name=name,
        objectives=(Objective(task, method.strategy, lam=method.lam, ramp=method.ramp),),
        sources=tuple(sources),
        streams=Explicit(labeled=scale.batch, unlabeled=scale.batch * method.unlabeled, use_labels=False),
        model=Model(scale.encoder(weights), channels=3),
        views=Views(weak=cifar_weak(flip=images.flip), strong=fixmatch_strong(flip=images.flip)),
        teacher=Teacher(decay=scale.ema),
        optimizer=optimizer,
        schedule=schedule,
        validation=(Split("validation", _of(images.validation, classes), tasks=(TASK,)),),
        test=(Split("test", _of(images.test, classes), tasks=(TASK,)),),
        evaluate="teacher",
        steps=scale.steps,
        eval_every=scale.eval_every,
        test_last=test_last,
        seed=seed,
        data=None if data is None else str(data),
        deviations=DEVIATIONS,
    )


def _optimizer(method: Method, lr: float | None) -> tuple[Optimizer, Schedule]:
    if method.optimizer == "sgd":
        return SGD(lr=0.03 if lr is None else lr, weight_decay=method.decay), FixMatchCosine()
    return AdamW(lr=0.002 if lr is None else lr, weight_decay=method.decay), Constant()


def _of(reader: Reader, classes: tuple[str, ...]) -> Reader:
    """Return the images of some classes of a reader."""
    return reader if reader.classes("label") == classes else Subset(reader=reader, only=classes)


DEVIATIONS = (
    "Shorter than the papers: they train 500,000 steps (RealMix) or a million, with a momentum of 0.001 of running "
    "statistics. Scored is the median over the last 20 evaluations, as in the papers, but these lie closer together.",
    "100 training images of each class are held out for validation and never train; nothing is chosen by them.",
    "Which images are labeled is our draw: the papers' draws are those of their programs. Of foreign classes as many "
    "images are left out as are labeled of the others, so that all are equally frequent.",
    "The copies of Extend draw for themselves, as the paper says; its program draws once for all of them.",
    "The mask drops exactly the share gamma; the authors' program drops one row more, and ties.",
    "Training signal annealing scales the labels, and its threshold reaches 1 at the end of the run; the authors' "
    "program scales the logits, so that next to nothing is dropped, over 1,048,576 steps.",
    "VAT's loss is KL(clean || adversarial), as its paper has it; MixMatch's program has the other direction.",
    "MixMatch guesses labels on both views in one pass. Weights decay before Adam's step, not after it. Batch "
    "normalization has PyTorch's epsilon.",
    "FixMatch takes RandAugment as in a common PyTorch port; its official program takes CTAugment by default.",
)
