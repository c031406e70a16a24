"""Landmarks for ssmtl: a task, and faces made in memory to try it on."""

from ssmtl_keypoints.keypoints import Keypoints
from ssmtl_keypoints.phantom import FacePhantom
from ssmtl_keypoints.points import Points, PointsAnswer

__all__ = ["FacePhantom", "Keypoints", "Points", "PointsAnswer"]
