"""The built-in tasks, as plugins that import ssmtl as any third party would."""

from ssmtl_tasks.classification import ClassAnswer, Classification
from ssmtl_tasks.losses import CrossEntropy, Dice, SegmentationLoss
from ssmtl_tasks.segmentation import Segmentation
from ssmtl_tasks.targets import Labels

__all__ = ["ClassAnswer", "Classification", "CrossEntropy", "Dice", "Labels", "Segmentation", "SegmentationLoss"]
