"""MultiMix on chest X-rays: diagnose pneumonia and outline lungs from few labels, in one network.

Paper    Haque et al., "Generalized Multi-Task Learning from Substantially Unlabeled Multi-Source Medical Image Data",
         MELBA 2021 (and ISBI 2021 supplement)
Results  docs/results/multimix_cxr.md: every number there with its command, seeds and machine
Run      ssmtl run multimix_cxr                                   phantoms, minutes on two CPU cores
         ssmtl run multimix_cxr --data DIR --diagnosis-labels 100 --lung-labels 10
Differs  see `deviations` at the end; every report lists them
"""

from pathlib import Path
from typing import Literal, NamedTuple

from ssmtl import (
    Adam,
    FixMatch,
    LabelBudget,
    LinearHead,
    LinearRamp,
    Milestones,
    MixMatch,
    Model,
    MultiMixDecoder,
    MultiMixEncoder,
    Objective,
    PerSource,
    PredictionMatching,
    Published,
    Recipe,
    SaliencyBridge,
    Source,
    Split,
    StepDecay,
    Supervised,
    Teacher,
    Views,
)
from ssmtl.datasets.base import Reader
from ssmtl.datasets.chest import chest_study
from ssmtl.views.presets import identity, multimix_strong, multimix_weak
from ssmtl_tasks import Classification, Dice, Segmentation


class Method(NamedTuple):
    """A row of the paper's ablation: which task is trained, and with which of MultiMix's parts."""

    paper_name: str
    diagnosis: bool = True
    lungs: bool = True
    consistency: bool = False
    mixmatch: bool = False
    bridge: bool = False
    matching: bool = False


METHODS = {
    "enc": Method("Enc", lungs=False),
    "enc-mm": Method("Enc-MM", lungs=False, mixmatch=True),
    "enc-ssl": Method("Enc-SSL", lungs=False, consistency=True),
    "u-net": Method("U-Net", diagnosis=False),
    "umtl": Method("UMTL"),
    "umtl-s": Method("UMTL-S", bridge=True),
    "umtl-ssl": Method("UMTL-SSL", consistency=True),
    "umtl-ssl-s": Method("UMTL-SSL-S", consistency=True, bridge=True),
    "multimix": Method("MultiMix", consistency=True, bridge=True, matching=True),
}
DECAYS = {"late": Milestones((0.6, 0.85), factor=0.1), "paper": StepDecay(8 * 470, factor=0.1, floor=0.01)}
PUBLISHED_KEYS = {"diagnosis": "n_cls_labels", "lungs": "n_seg_labels"}
MethodName = Literal["enc", "enc-mm", "enc-ssl", "u-net", "umtl", "umtl-s", "umtl-ssl", "umtl-ssl-s", "multimix"]
Labels = int | Literal["full"]


def recipe(
    *,
    data: Path | None = None,
    method: MethodName = "multimix",
    diagnosis_labels: Labels = 100,
    lung_labels: Labels = 10,
    size: int = 128,
    lr: float = 1e-3,
    decay: Literal["late", "paper"] = "late",
    seg_kl: Literal["bernoulli", "marginal", "reference", "none"] = "bernoulli",
    consistency: float | None = None,
    threshold: float = 0.7,
    pseudo_labels_from: Literal["student", "teacher"] = "student",
    evaluate: Literal["student", "teacher"] = "teacher",
    seed: int = 0,
) -> Recipe:
    """Learn to diagnose pneumonia and to outline the lungs, from few labels of each.

    Without --data it trains on phantom films made in memory. For the paper's setting add: --size 256 --lr 1e-4 --decay
    paper --steps 47000 --evaluate student.

    Args:
        data: Folder with cxr/ and cxr_cross/, or with the original layouts chest_xray/, JSRT/, MontgomerySet/,
            ChestX-ray14/.
        method: A model of the paper.
        diagnosis_labels: Films whose diagnosis is visible.
        lung_labels: Films whose lung mask is visible.
        size: Side of the square canvas in pixels, a multiple of 16.
        lr: Learning rate of Adam.
        decay: When the rate falls to a tenth: after 60 % and 85 % of the run, or after every 8 passes over the 4,700
            training films as in the paper, never below a hundredth.
        seg_kl: Form of the divergence between lung maps of labeled and unlabeled films.
        consistency: Weight lambda of the loss on unlabeled films; by default 0.25, and 75 for enc-mm.
        threshold: Probability from which a prediction becomes a pseudo-label.
        pseudo_labels_from: Who predicts them: the student, or its moving average.
        evaluate: Whose weights are scored: the trained student, or its moving average.
        seed: Seed of weights, batches, views and of the choice of labeled films.
    """
    chosen = METHODS[method]
    study = chest_study(data, (size, size), seed=0)
    diagnosis = Classification("diagnosis", classes=("normal", "pneumonia"), head=LinearHead(max_pool=True))
    lungs = Segmentation("lungs", classes=("lung",), loss=Dice(), head=MultiMixDecoder())
    films = Source("films", study.films, serves=("diagnosis",))
    masks = Source("lung films", study.lungs, serves=("lungs",), views=Views(weak=identity(), strong=identity()))
    fixmatch = FixMatch(threshold=threshold, pseudo_labels_from=pseudo_labels_from)
    lam = consistency if consistency is not None else 75.0 if chosen.mixmatch else 0.25
    by_films = Objective(diagnosis, fixmatch if chosen.consistency else Supervised(), lam=lam)
    if chosen.mixmatch:
        by_films = Objective(diagnosis, MixMatch(), lam=lam, ramp=LinearRamp(0.16, over=16_384))
    on_lungs = PredictionMatching(form=seg_kl) if chosen.matching else Supervised()
    parts = (
        (chosen.diagnosis, by_films, films, diagnosis_labels),
        (chosen.lungs, Objective(lungs, on_lungs, gamma=5.0, lam=0.002), masks, lung_labels),  # alpha 5, beta 0.01
    )
    bridge = SaliencyBridge(source="diagnosis", into="lungs")
    used = tuple(part for part in parts if part[0])
    names = tuple(objective.task.name for _, objective, _, _ in used)
    unlabeled_from = (*("films",) * (chosen.consistency or chosen.mixmatch), *("lung films",) * chosen.matching)
    return Recipe(
        name=f"multimix_cxr {method}",
        objectives=tuple(objective for _, objective, _, _ in used),
        sources=tuple(source for _, _, source, _ in used),
        budget=LabelBudget(counts=tuple((objective.task.name, n) for _, objective, _, n in used), seed=seed),
        streams=PerSource(labeled=10, unlabeled=10, unlabeled_from=unlabeled_from),
        model=Model(encoder=MultiMixEncoder(), bridge=bridge if chosen.bridge else None),
        views=Views(weak=multimix_weak(), strong=multimix_strong()),
        teacher=Teacher(decay=0.99),
        optimizer=Adam(lr=lr),
        schedule=DECAYS[decay],
        steps=600,
        eval_every=100,
        checkpoint_every=100,
        validation=_scored(names, "validation", study.films_validation, study.lungs_validation),
        test=(
            *_scored(names, "test", study.films_test, study.lungs_test),
            *_scored(names, "cross", study.films_cross, study.lungs_cross),
        ),
        evaluate=evaluate,
        seed=seed,
        data=None if data is None else str(data),
        published=Published(
            paper="multimix-melba",
            method=chosen.paper_name,
            setting=tuple((PUBLISHED_KEYS[objective.task.name], n) for _, objective, _, n in used),
            same_data=study.original,
        ),
        deviations=DEVIATIONS,
    )


def _scored(tasks: tuple[str, ...], what: str, films: Reader | None, lungs: Reader | None) -> tuple[Split, ...]:
    readers = {"diagnosis": films, "lungs": lungs}
    there = [(task, reader) for task, reader in readers.items() if task in tasks and reader is not None]
    return tuple(Split(f"{task} {what}", reader, tasks=(task,)) for task, reader in there)


DEVIATIONS = (
    "The divergence between lung maps (MultiMix only) acts on each pixel's foreground probability, the labeled side "
    "held fixed. The authors' program takes a softmax over its single channel, which is constant, so that their term "
    "and its gradient are zero; --seg-kl reference reproduces that.",
    "Enc-MM is MixMatch with the settings of its paper for CIFAR-10 (2 views, T 0.5, alpha 0.75, lambda 75 over 16,384 "
    "steps or 16 % of the run) and MultiMix's rate: the paper names no setting.",
    "Every image is scaled to [-1, 1]; the authors' program leaves the augmented ones in [0, 1].",
    "Weak and strong views pad an eighth of the side before the crop; the authors' strong view pads 4 pixels.",
    "Rotations reach 27 degrees and shifts 27 %, as in the authors' program; the paper says 30. Levels change before "
    "pixels move, and shear is about the center.",
    "The saliency pass restores the mode it found; the authors' program leaves dropout on when it tests.",
    "Unless --decay paper, the learning rate falls to a tenth after 60 % and again after 85 % of the run; in the paper "
    "after every 8 epochs.",
    "Scored are the last weights, of the moving average unless --evaluate student; the authors' program tests the "
    "weights of its first epoch.",
    "Validation is a tenth of the training films, drawn by patient and class, not the 16 official ones. The split of "
    "JSRT by odd and even numbers, and which normal films stand for ChestX-ray14, are our choice: the paper's are "
    "undisclosed.",
    "When every diagnosis is visible, the labeled films double as unlabeled ones.",
    "By default 128 pixels, 600 steps and a rate of 1e-3 instead of 256 pixels, 100 epochs and 1e-4.",
)
