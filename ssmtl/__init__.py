"""Train one vision model for several tasks when most images lack most labels.

The names here are the public API; they load what they need when first used, so that importing ssmtl costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssmtl.budget import LabelBudget as LabelBudget
    from ssmtl.component import Component as Component
    from ssmtl.datasets.extend import Extend as Extend
    from ssmtl.datasets.manifest import Manifest as Manifest
    from ssmtl.datasets.subset import Subset as Subset
    from ssmtl.models.deeplab import DeepLabV3Plus as DeepLabV3Plus
    from ssmtl.models.heads import LinearHead as LinearHead
    from ssmtl.models.heads import SmpUnetDecoder as SmpUnetDecoder
    from ssmtl.models.multimix_unet import MultiMixDecoder as MultiMixDecoder
    from ssmtl.models.multimix_unet import MultiMixEncoder as MultiMixEncoder
    from ssmtl.models.multitask import Model as Model
    from ssmtl.models.saliency_bridge import SaliencyBridge as SaliencyBridge
    from ssmtl.models.timm_encoder import TimmEncoder as TimmEncoder
    from ssmtl.models.wide_resnet import WideResNet as WideResNet
    from ssmtl.objective import Objective as Objective
    from ssmtl.optimizers import SGD as SGD
    from ssmtl.optimizers import Adam as Adam
    from ssmtl.optimizers import AdamW as AdamW
    from ssmtl.recipe import Published as Published
    from ssmtl.recipe import Recipe as Recipe
    from ssmtl.recipe import Source as Source
    from ssmtl.recipe import Split as Split
    from ssmtl.recipe import Views as Views
    from ssmtl.schedules import Constant as Constant
    from ssmtl.schedules import Cosine as Cosine
    from ssmtl.schedules import FixMatchCosine as FixMatchCosine
    from ssmtl.schedules import LinearRamp as LinearRamp
    from ssmtl.schedules import Milestones as Milestones
    from ssmtl.schedules import Poly as Poly
    from ssmtl.schedules import SigmoidRamp as SigmoidRamp
    from ssmtl.schedules import StepDecay as StepDecay
    from ssmtl.strategies.fixmatch import DenseFixMatch as DenseFixMatch
    from ssmtl.strategies.fixmatch import FixMatch as FixMatch
    from ssmtl.strategies.fixmatch import FixMatchStar as FixMatchStar
    from ssmtl.strategies.mean_teacher import MeanTeacher as MeanTeacher
    from ssmtl.strategies.mixmatch import MixMatch as MixMatch
    from ssmtl.strategies.ood_mask import OODMask as OODMask
    from ssmtl.strategies.pi_model import PiModel as PiModel
    from ssmtl.strategies.prediction_matching import PredictionMatching as PredictionMatching
    from ssmtl.strategies.pseudo_label import PseudoLabel as PseudoLabel
    from ssmtl.strategies.realmix import RealMix as RealMix
    from ssmtl.strategies.supervised import Supervised as Supervised
    from ssmtl.strategies.tsa import TSA as TSA
    from ssmtl.strategies.vat import VAT as VAT
    from ssmtl.streams import Explicit as Explicit
    from ssmtl.streams import Implicit as Implicit
    from ssmtl.streams import PerSource as PerSource
    from ssmtl.streams import PerTask as PerTask
    from ssmtl.teacher import Teacher as Teacher
    from ssmtl.views.kornia_warp import Kornia as Kornia
    from ssmtl.views.policy import Policy as Policy

_HOMES = {
    "budget": ("LabelBudget",),
    "component": ("Component",),
    "datasets.extend": ("Extend",),
    "datasets.manifest": ("Manifest",),
    "datasets.subset": ("Subset",),
    "models.deeplab": ("DeepLabV3Plus",),
    "models.heads": (
        "LinearHead",
        "SmpUnetDecoder",
    ),
    "models.multimix_unet": (
        "MultiMixDecoder",
        "MultiMixEncoder",
    ),
    "models.multitask": ("Model",),
    "models.saliency_bridge": ("SaliencyBridge",),
    "models.timm_encoder": ("TimmEncoder",),
    "models.wide_resnet": ("WideResNet",),
    "objective": ("Objective",),
    "optimizers": (
        "SGD",
        "Adam",
        "AdamW",
    ),
    "recipe": (
        "Published",
        "Recipe",
        "Source",
        "Split",
        "Views",
    ),
    "schedules": (
        "Constant",
        "Cosine",
        "FixMatchCosine",
        "LinearRamp",
        "Milestones",
        "Poly",
        "SigmoidRamp",
        "StepDecay",
    ),
    "strategies.fixmatch": (
        "DenseFixMatch",
        "FixMatch",
        "FixMatchStar",
    ),
    "strategies.mean_teacher": ("MeanTeacher",),
    "strategies.mixmatch": ("MixMatch",),
    "strategies.ood_mask": ("OODMask",),
    "strategies.pi_model": ("PiModel",),
    "strategies.prediction_matching": ("PredictionMatching",),
    "strategies.pseudo_label": ("PseudoLabel",),
    "strategies.realmix": ("RealMix",),
    "strategies.supervised": ("Supervised",),
    "strategies.tsa": ("TSA",),
    "strategies.vat": ("VAT",),
    "streams": (
        "Explicit",
        "Implicit",
        "PerSource",
        "PerTask",
    ),
    "teacher": ("Teacher",),
    "views.kornia_warp": ("Kornia",),
    "views.policy": ("Policy",),
}
_MODULES = {name: f"ssmtl.{module}" for module, names in _HOMES.items() for name in names}
__all__ = tuple(sorted(_MODULES))


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'ssmtl' has no attribute '{name}'")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
