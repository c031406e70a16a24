"""What augmentations of Kornia may draw from, and where their crops may look."""

import random

import kornia.augmentation as K
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from ssmtl.errors import RecipeError
from ssmtl.views.kornia_warp import Kornia
from ssmtl.views.policy import Policy


class Shift(K.GeometricAugmentationBase2D):
    """Moves right by a number of pixels."""

    def pixels(self):
        return 3.0

    def generate_parameters(self, batch_shape):
        return {"pixels": torch.full((batch_shape[0],), self.pixels())}

    def compute_transformation(self, image, params, flags):
        matrix = torch.eye(3, dtype=image.dtype).repeat(image.shape[0], 1, 1)
        matrix[:, 0, 2] = params["pixels"]
        return matrix

    def apply_transform(self, image, params, flags, transform=None):
        raise NotImplementedError


class ByRandom(Shift):
    """Draws from Python's generator."""

    def pixels(self):
        return random.uniform(-9, 9)


class ByNumPy(Shift):
    """Draws from NumPy's generator."""

    def pixels(self):
        return float(np.random.uniform(-9, 9))  # noqa: NPY002


class Counting(Shift):
    """Moves further every time."""

    def __init__(self, p=1.0):
        super().__init__(p=p)
        self.calls = 0

    def pixels(self):
        self.calls += 1
        return float(self.calls)


@pytest.mark.parametrize("kind", [ByRandom, ByNumPy, Counting])
def test_what_draws_other_numbers_from_the_same_seed_is_refused(kind):
    for make in (lambda: Kornia(f"{__name__}:{kind.__name__}"), lambda: Kornia.of(kind(p=1.0))):
        with pytest.raises(
            (RecipeError, ValidationError), match="draws other numbers from the same seed, so that no run"
        ):
            make()


def test_what_keeps_to_the_seed_is_drawn():
    draw = Policy(always=(Shift(p=1.0),)).sample(0, np.arange(2), (8, 8))
    assert draw.geometry.matrix[:, 0, 2].tolist() == [3.0, 3.0]


def test_a_crop_of_images_that_fill_a_part_of_their_canvas_is_refused():
    policy = Policy(always=(K.RandomCrop((16, 16), p=1.0),))
    assert len(policy.sample(0, np.arange(3), (64, 64))) == 3
    with pytest.raises(RecipeError, match=r"RandomCrop cuts anywhere out of the canvas .* use ScaleCrop"):
        policy.sample(0, np.arange(3), (64, 64), real=torch.tensor([[64, 64], [20, 64], [64, 64]]))


def test_messages_name_the_augmentation():
    crop = K.RandomCrop((16, 16), p=1.0)
    for fields in ({"always": (crop, crop)}, {"pool": (crop,), "num_ops": 1}, {"always": ("HorizontalFlip", crop)}):
        with pytest.raises(ValidationError, match="RandomCrop"):
            Policy(**fields)
