"""The built-in tasks, as plugins that import ssmtl as any third party would."""

from ssmtl_tasks.classification import ClassAnswer, Classification
from ssmtl_tasks.detection import BoxAnswer, Detection
from ssmtl_tasks.detection_head import RetinaNetHead
from ssmtl_tasks.detection_targets import BoxPrediction, BoxTargets
from ssmtl_tasks.losses import CrossEntropy, Dice, SegmentationLoss
from ssmtl_tasks.multi_label import LabelsAnswer, MultiLabel
from ssmtl_tasks.segmentation import Segmentation
from ssmtl_tasks.targets import Labels

__all__ = [
    "BoxAnswer",
    "BoxPrediction",
    "BoxTargets",
    "ClassAnswer",
    "Classification",
    "CrossEntropy",
    "Detection",
    "Dice",
    "Labels",
    "LabelsAnswer",
    "MultiLabel",
    "RetinaNetHead",
    "Segmentation",
    "SegmentationLoss",
]
