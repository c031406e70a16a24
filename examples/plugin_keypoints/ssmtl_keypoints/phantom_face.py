"""What a face of the phantom looks like, and where its points are.

A face has coordinates of its own: u to the *image's* right before it is turned, v down, with the chin at v = 1. A
person's left eye therefore has a positive u.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from ssmtl_keypoints.points import ABSENT, HIDDEN, VISIBLE

POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
EXPRESSIONS = ("neutral", "happy", "surprised")
REGIONS = ("background", "face", "hair")
_FACE, _HAIR = 1, 2
_RED, _WHITE, _BLACK = np.array([0.6, 0.15, 0.15]), np.array([0.95, 0.95, 0.95]), np.array([0.08, 0.03, 0.03])
Color = Float64[np.ndarray, "3"]


class Face(NamedTuple):
    """One image of a face with all that is annotated: points [k, 3] of x, y and visibility, and `REGIONS`."""

    image: UInt8[np.ndarray, "3 h w"]
    points: Float32[np.ndarray, "k 3"]
    mask: UInt8[np.ndarray, "h w"]


class _Pose:
    """Where a face is: the (u, v) of every pixel, and the pixel of any (u, v)."""

    def __init__(self, size: tuple[int, int], dice: np.random.Generator) -> None:
        side = min(size)
        self.size = size
        self.scale = side * dice.uniform(0.24, 0.4)
        angle = np.deg2rad(dice.uniform(-60, 60))
        self.turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        self.center = np.array([size[1], size[0]]) / 2 + side * dice.uniform(-0.3, 0.3, 2)
        self.yaw = dice.uniform(-1, 1)
        y, x = np.mgrid[: size[0], : size[1]]
        self.u, self.v = np.moveaxis((np.stack([x, y], -1) - self.center) @ self.turn / self.scale, -1, 0)

    def pixel(self, u: float, v: float) -> Float64[np.ndarray, "2"]:
        place: Float64[np.ndarray, " 2"] = self.turn @ np.array([u, v]) * self.scale + self.center
        return place

    def ellipse(self, u: float, v: float, across: float, down: float) -> Float64[np.ndarray, "h w"]:
        """Return how much of each pixel an ellipse with these half axes covers."""
        distance = np.hypot((self.u - u) / across, (self.v - v) / down) - 1
        cover: Float64[np.ndarray, "h w"] = np.clip(0.5 - distance * min(across, down) * self.scale, 0, 1)
        return cover

    def arc(self, u: float, v: float, width: float, curve: float, thick: float) -> Float64[np.ndarray, "h w"]:
        """Return how much of each pixel a parabola covers that is `curve` lower in the middle than at its ends."""
        t = np.clip((self.u - u) / width, -1, 1)
        distance = np.hypot(self.u - u - t * width, self.v - v - curve * (1 - t * t))
        cover: Float64[np.ndarray, "h w"] = np.clip(0.5 + (thick - distance) * self.scale, 0, 1)
        return cover


def draw_face(size: tuple[int, int], expression: str, dice: np.random.Generator) -> Face:
    """Draw a face on a canvas of (height, width)."""
    pose = _Pose(size, dice)
    light = _background(pose, dice)
    skin = np.array([0.85, 0.65, 0.5]) * dice.uniform(0.45, 1.1) * (1 + dice.normal(0, 0.06, 3))
    hair = np.array([0.5, 0.35, 0.2]) * dice.uniform(0.1, 1.2)
    head = pose.ellipse(0.0, 0.0, 0.76, 1.0)
    for side in (-1, 1):
        head = np.maximum(head, pose.ellipse(0.8 * side, 0.05, 0.12, 0.2))
    cap = np.maximum(head, pose.ellipse(0.0, -0.25, 0.86, 0.88)) * np.clip(0.5 + (-0.45 - pose.v) * pose.scale, 0, 1)
    shade = 1 + 0.25 * dice.uniform(-1, 1) * pose.u + 0.2 * dice.uniform(-1, 1) * pose.v
    _paint(light, head, skin * shade[..., None])
    _paint(light, cap, hair)
    mask = np.where(cap > 0.5, _HAIR, np.where(head > 0.5, _FACE, 0)).astype(np.uint8)
    places = _features(light, pose, expression, skin, hair, dice)
    cover = _cover(pose, dice)
    _paint(light, cover, dice.uniform(0, 1, 3))
    hidden = cover > 0.5
    mask[hidden] = 0
    return Face(_expose(light, dice), _annotate(places, hidden), mask)


def _features(
    light: Float64[np.ndarray, "h w 3"],
    pose: _Pose,
    expression: str,
    skin: Color,
    hair: Color,
    dice: np.random.Generator,
) -> Float64[np.ndarray, "k 2"]:
    """Paint eyes, brows, nose and mouth, and return where `POINTS` are; features move as the head looks to a side."""
    near, nose_tip = 0.14 * pose.yaw, 0.26 * pose.yaw
    gaze, iris, raised = dice.uniform(-0.05, 0.05, 2), dice.uniform(0, 0.35, 3), dice.uniform(-0.05, 0.05)
    for u in (near + 0.33, near - 0.33):
        _paint(light, pose.ellipse(u, -0.16, 0.17, 0.11), _WHITE)
        _paint(light, pose.ellipse(u + gaze[0], -0.16 + gaze[1] / 2, 0.085, 0.085), iris)
        _paint(light, pose.ellipse(u, -0.34 + raised, 0.19, 0.045), hair * 0.8)
    _paint(light, pose.ellipse((near + nose_tip) / 2, 0.05, 0.07, 0.2), skin * 0.85)
    _paint(light, pose.ellipse(nose_tip, 0.2, 0.12, 0.08), skin * 0.7)
    width, corner = _mouth(light, pose, expression, near, dice)
    eyes = [(near + 0.33, -0.16), (near - 0.33, -0.16)]
    mouth = [(near + width, corner), (near - width, corner)]
    return np.array([pose.pixel(u, v) for u, v in (*eyes, (nose_tip, 0.2), *mouth)])


def _mouth(
    light: Float64[np.ndarray, "h w 3"], pose: _Pose, expression: str, u: float, dice: np.random.Generator
) -> tuple[float, float]:
    """Paint a closed, a laughing or an open mouth, and return how far its corners are to the sides, and their v."""
    width = dice.uniform(0.26, 0.34)
    if expression == "surprised":
        _paint(light, pose.ellipse(u, 0.58, 0.22, 0.26), _RED)
        _paint(light, pose.ellipse(u, 0.58, 0.16, 0.2), _BLACK)
        return 0.22, 0.58
    if expression == "happy":
        _paint(light, pose.arc(u, 0.46, width, 0.18, 0.13), _RED)
        _paint(light, pose.arc(u, 0.46, 0.8 * width, 0.18, 0.08), _WHITE)
        return width, 0.46
    _paint(light, pose.arc(u, 0.55, width, 0.0, 0.05), _RED)
    return width, 0.55


def _background(pose: _Pose, dice: np.random.Generator) -> Float64[np.ndarray, "h w 3"]:
    """Return waves of color, with things like eyes and like faces on them."""
    light = np.zeros((*pose.size, 3)) + dice.uniform(0.1, 0.8, 3)
    for _ in range(3):
        wave = np.sin(pose.u * dice.normal(0, 3) + pose.v * dice.normal(0, 3) + dice.uniform(0, 2 * np.pi))
        light += wave[..., None] * dice.normal(0, 0.08, 3)
    for _ in range(dice.integers(1, 5)):
        (u, v), size = dice.uniform(-2, 2, 2), dice.uniform(0.1, 0.3)
        _paint(light, pose.ellipse(u, v, size, size * 0.7), dice.uniform(0.5, 1, 3))
        _paint(light, pose.ellipse(u, v, size * 0.5, size * 0.5), dice.uniform(0, 0.4, 3))
    return light


def _cover(pose: _Pose, dice: np.random.Generator) -> Float64[np.ndarray, "h w"]:
    """Return what something in front of four faces in ten covers: a bar across, or a lump."""
    (u, v), angle, kind = dice.uniform(-0.6, 0.6, 2), dice.uniform(0, np.pi), dice.uniform()
    if kind < 0.2:
        return pose.ellipse(u, v, dice.uniform(0.25, 0.45), dice.uniform(0.25, 0.45))
    if kind < 0.4:
        across = (pose.u - u) * np.sin(angle) + (pose.v - v) * np.cos(angle)
        bar: Float64[np.ndarray, "h w"] = np.clip(0.5 + (dice.uniform(0.1, 0.2) - np.abs(across)) * pose.scale, 0, 1)
        return bar
    return np.zeros(pose.size)


def _paint(
    light: Float64[np.ndarray, "h w 3"], cover: Float64[np.ndarray, "h w"], color: Float64[np.ndarray, "*hw 3"]
) -> None:
    """Lay a color over what it covers, in place."""
    light += cover[..., None] * (color - light)


def _expose(light: Float64[np.ndarray, "h w 3"], dice: np.random.Generator) -> UInt8[np.ndarray, "3 h w"]:
    """Return what a camera makes of light: exposure, a tint, and noise."""
    levels = 255 * light * dice.uniform(0.6, 1.1) * (1 + dice.normal(0, 0.05, 3)) + dice.normal(0, 7, light.shape)
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8).transpose(2, 0, 1).copy()


def _annotate(places: Float64[np.ndarray, "k 2"], hidden: Bool[np.ndarray, "h w"]) -> Float32[np.ndarray, "k 3"]:
    """Return x, y and visibility of points; those outside of the image are absent, at (0, 0)."""
    pixel = np.rint(places).astype(np.int64)
    inside = ((pixel >= 0) & (pixel < hidden.shape[::-1])).all(axis=1)
    column, row = np.where(inside[:, None], pixel, 0).T
    visibility = np.where(inside, np.where(hidden[row, column], HIDDEN, VISIBLE), ABSENT)
    return np.column_stack([np.where(inside[:, None], places, 0), visibility]).astype(np.float32)
