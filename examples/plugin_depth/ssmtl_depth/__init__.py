"""Depth from one image as a task of ssmtl: `Depth`, and `DepthPhantom`, scenes to try it on."""

from ssmtl_depth.depth import Depth
from ssmtl_depth.maps import DepthMap, DepthPrediction
from ssmtl_depth.phantom import DepthPhantom

__all__ = ["Depth", "DepthMap", "DepthPhantom", "DepthPrediction"]
