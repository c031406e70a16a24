"""Train one vision model for several tasks when most images lack most labels.

The names here are the public API; they load what they need when first used, so that importing ssmtl costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssmtl.budget import LabelBudget as LabelBudget
    from ssmtl.component import Component as Component
    from ssmtl.models.deeplab import DeepLabV3Plus as DeepLabV3Plus
    from ssmtl.models.heads import LinearHead as LinearHead
    from ssmtl.models.heads import SmpUnetDecoder as SmpUnetDecoder
    from ssmtl.models.multimix_unet import MultiMixDecoder as MultiMixDecoder
    from ssmtl.models.multimix_unet import MultiMixEncoder as MultiMixEncoder
    from ssmtl.models.multitask import Model as Model
    from ssmtl.models.saliency_bridge import SaliencyBridge as SaliencyBridge
    from ssmtl.models.timm_encoder import TimmEncoder as TimmEncoder
    from ssmtl.objective import Objective as Objective
    from ssmtl.optimizers import SGD as SGD
    from ssmtl.optimizers import Adam as Adam
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
    from ssmtl.strategies.prediction_matching import PredictionMatching as PredictionMatching
    from ssmtl.strategies.supervised import Supervised as Supervised
    from ssmtl.streams import Explicit as Explicit
    from ssmtl.streams import Implicit as Implicit
    from ssmtl.streams import PerSource as PerSource
    from ssmtl.teacher import Teacher as Teacher
    from ssmtl.views.kornia_warp import Kornia as Kornia
    from ssmtl.views.policy import Policy as Policy

_HOMES = {
    "budget": ("LabelBudget",),
    "component": ("Component",),
    "models.deeplab": ("DeepLabV3Plus",),
    "models.heads": ("LinearHead", "SmpUnetDecoder"),
    "models.multimix_unet": ("MultiMixDecoder", "MultiMixEncoder"),
    "models.multitask": ("Model",),
    "models.saliency_bridge": ("SaliencyBridge",),
    "models.timm_encoder": ("TimmEncoder",),
    "objective": ("Objective",),
    "optimizers": ("SGD", "Adam"),
    "recipe": ("Published", "Recipe", "Source", "Split", "Views"),
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
    "strategies.fixmatch": ("DenseFixMatch", "FixMatch", "FixMatchStar"),
    "strategies.prediction_matching": ("PredictionMatching",),
    "strategies.supervised": ("Supervised",),
    "streams": ("Explicit", "Implicit", "PerSource"),
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
