"""Kornia's augmentations as transforms: their matrices, what they are called, what is refused, what is read back."""

import json
import subprocess
import sys

import kornia.augmentation as K
import numpy as np
import pytest
import torch
from kornia.geometry.transform import get_affine_matrix2d, warp_affine
from pydantic import ValidationError

from ssmtl.component import Component, mistakes
from ssmtl.errors import RecipeError
from ssmtl.keyed import uniform
from ssmtl.views import kornia_classes
from ssmtl.views.geometry import inverse
from ssmtl.views.kornia_warp import Kornia
from ssmtl.views.policy import Policy
from ssmtl.views.resample import bilinear
from ssmtl.views.transform import as_transform

SIZE = (37, 52)
SEEDS = torch.tensor([[3.0], [41.0], [2.0**53 - 1]], dtype=torch.float64)
RIGID = (
    K.RandomAffine((-20.0, 20.0), (0.1, 0.2), (0.8, 1.2), (-5.0, 5.0, -3.0, 3.0)),
    K.RandomRotation(30.0),
    K.RandomRotation90((1, 3)),
    K.RandomPerspective(0.4),
    K.RandomShear((-10.0, 10.0, -5.0, 5.0)),
    K.RandomTranslate((-0.2, 0.2), (0.0, 0.1)),
    K.RandomHorizontalFlip(),
    K.RandomVerticalFlip(),
    K.RandomResizedCrop((20, 24)),
    K.RandomResizedCrop((20, 24), cropping_mode="resample"),
    K.RandomCrop((24, 32), padding=3),
    K.CenterCrop((21, 30)),
    K.Resize((64, 80)),
    K.PadTo((60, 60)),
)
ELASTIC = (
    K.RandomElasticTransform(),
    K.RandomThinPlateSpline(),
    K.RandomFisheye(*(torch.tensor(ends) for ends in ([-0.3, 0.3], [-0.3, 0.3], [0.9, 1.0]))),
)


class Squeeze(K.GeometricAugmentationBase2D):
    """Narrow an image about its center by a factor between `least` and 1."""

    def __init__(self, least=0.5, p=0.5):
        super().__init__(p=p)
        self.least = least

    def generate_parameters(self, batch_shape):
        return {"factor": 1 - (1 - self.least) * torch.rand(batch_shape[0])}

    def compute_transformation(self, image, params, flags):
        matrix = torch.eye(3, dtype=image.dtype).repeat(image.shape[0], 1, 1)
        matrix[:, 0, 0] = params["factor"]
        matrix[:, 0, 2] = (1 - params["factor"]) * (image.shape[-1] - 1) / 2
        return matrix

    def apply_transform(self, image, params, flags, transform=None):
        return warp_affine(image, transform[:, :2], image.shape[-2:], align_corners=False)


class Told(Squeeze):
    """Has a matrix, and leaves pixels to others."""

    def apply_transform(self, image, params, flags, transform=None):
        raise NotImplementedError


class Lying(Squeeze):
    """Moves pixels one column further than its matrix says."""

    def apply_transform(self, image, params, flags, transform=None):
        return super().apply_transform(image, params, flags, transform).roll(1, -1)


class Forgetful(Squeeze):
    """Doesn't keep its argument under its name."""

    def __init__(self, narrowest=0.5, p=0.5):
        super().__init__(least=narrowest, p=p)


class Upright(K.RandomRotation):
    """Only sets an argument of Kornia's."""

    def __init__(self, p=0.5):
        super().__init__(degrees=5.0, p=p)


class Sneaky(K.RandomRotation):
    """Turns, and mirrors what it turns."""

    def compute_transformation(self, image, params, flags):
        center = torch.tensor([[(image.shape[-1] - 1) / 2, (image.shape[-2] - 1) / 2]], dtype=image.dtype)
        mirror = torch.tensor([[-1.0, 1.0]], dtype=image.dtype)
        return get_affine_matrix2d(torch.zeros_like(center), center, mirror, params["degrees"].to(image.dtype))

    def apply_transform(self, image, params, flags, transform=None):
        return warp_affine(image, transform[:, :2], image.shape[-2:], align_corners=False)


def title(op):
    return type(op).__name__


def applied(op, seed, image):
    """Return what Kornia itself makes of an image, always applied, and its own matrix."""
    op.p = op.p_batch = 1.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        return op(image), op.transform_matrix


def sentence(call):
    """Return what a call is refused with, as one line."""
    with pytest.raises((RecipeError, ValidationError)) as caught:
        call()
    error = caught.value
    return mistakes(error) if isinstance(error, ValidationError) else str(error)


@pytest.mark.parametrize("op", RIGID, ids=title)
def test_matrix_and_pixels_are_kornias(op):
    transform = Kornia.of(op)
    image = torch.rand(1, 2, *SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    size, ones = transform.view_size(SIZE), torch.ones(1, 1, *SIZE, dtype=torch.float64)
    assert not transform.elastic
    for seed, matrix in zip(SEEDS, transform.matrix(SEEDS, SIZE), strict=True):
        view, own = applied(op, seed, image)
        assert size == tuple(view.shape[-2:])
        torch.testing.assert_close(matrix[None], own, rtol=0, atol=1e-9)
        back = inverse(matrix[None])
        covered = (bilinear(ones, back, size, "zeros") > 1 - 1e-5).expand_as(view)
        assert covered.float().mean() > 0.2
        assert (bilinear(image, back, size, "zeros") - view)[covered].abs().max() <= 1e-5


@pytest.mark.parametrize("op", ELASTIC, ids=title)
def test_no_matrix_describes_an_elastic_one(op):
    transform = Kornia.of(op)
    assert transform.elastic
    assert transform.names == (title(op),)
    said = sentence(lambda: transform.matrix(SEEDS, SIZE))
    assert title(op) in said
    assert "masks and boxes can't follow; use Rotate, ShearX or Perspective" in said


def test_a_matrix_that_lies_about_the_pixels_is_found_out():
    assert Kornia.of(Lying()).elastic
    assert not Kornia.of(Squeeze()).elastic
    assert not Kornia.of(Told()).elastic


@pytest.mark.parametrize("kind", [Squeeze, Told])
def test_own_subclass_by_object_by_class_and_by_name(kind):
    name = f"{__name__}:{kind.__name__}"
    assert Kornia.of(kind(0.25, p=0.3)) == Kornia(name, least=0.25, p=0.3)
    assert Kornia.of(kind) == Kornia(name, p=0.5)
    matrix = Kornia(name, least=0.25).matrix(SEEDS, SIZE)
    torch.manual_seed(41)
    factor = 1 - 0.75 * torch.rand(1).double()
    assert matrix[1, 0].tolist() == pytest.approx([float(factor), 0, float(1 - factor) * 51 / 2])
    assert Kornia(name).names == (kind.__name__,)


def test_a_row_is_drawn_alone_and_bit_for_bit():
    transform = Kornia.of(RIGID[0])
    numbers = uniform(5, np.arange(5), 2)
    seeds = torch.from_numpy(transform.draw(numbers, SIZE, np.tile(SIZE, (5, 1))))
    assert seeds.dtype == torch.float64
    assert (seeds == seeds.floor()).all()
    together = transform.matrix(seeds, SIZE)
    assert len(together.unique(dim=0)) == 5
    assert torch.equal(transform.matrix(seeds[3:4], SIZE)[0], together[3])
    assert transform.matrix(seeds[:0], SIZE).shape == (0, 3, 3)


def test_largest_seed_is_a_seed():
    last = np.nextafter(1.0, 0.0)
    seeds = Kornia("RandomRotation", degrees=3.0).draw(np.array([[0.5, last]]), SIZE, np.array([SIZE]))
    assert seeds.tolist() == [[2.0**53 - 1]]


def test_levels_of_a_policy_leave_draws_apart():
    """RandAugment in ten levels must not leave ten different draws."""
    policy = Policy(pool=(K.RandomRotation(30.0, p=1.0),), num_ops=1, levels=(1, 10))
    matrices = policy.sample(1, np.arange(200), SIZE).geometry.matrix
    assert len(matrices.unique(dim=0)) == 200


def test_generators_of_others_are_left_alone(monkeypatch):
    """`torch.manual_seed` would also seed the generators of GPUs, which nothing restores."""
    before = torch.get_rng_state()
    monkeypatch.setattr(torch, "manual_seed", lambda seed: pytest.fail("seeds every device"))
    transform = Kornia.of(K.RandomAffine(15.0, scale=(0.7, 1.1)))
    assert transform.names == ("Rotate", "ScaleCrop")
    assert not transform.elastic
    assert transform.view_size(SIZE) == SIZE
    transform.matrix(SEEDS, SIZE)
    assert torch.equal(before, torch.get_rng_state())


def test_autocast_does_not_reach_matrices():
    """Kornia multiplies matrices, which autocast would round to 8 bits: 0.4 pixels at 256."""
    transform = Kornia("RandomAffine", degrees=30.0)
    exact = transform.matrix(SEEDS, SIZE)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(transform.matrix(SEEDS, SIZE), exact)


def test_equal_arguments_of_other_types_are_not_mixed_up():
    """1 == 1.0, but a size is only one of them, whichever was built first."""
    assert Kornia("RandomResizedCrop", size=(20, 20)).view_size(SIZE) == (20, 20)
    assert "positive integers. Got (20.0, 20.0)" in sentence(lambda: Kornia("RandomResizedCrop", size=(20.0, 20.0)))


@pytest.mark.parametrize("transform", [Kornia.of(op) for op in (*RIGID, *ELASTIC)], ids=lambda op: op.augmentation)
def test_json_and_hash(transform):
    again = Kornia.model_validate_json(json.dumps(transform.model_dump()))
    assert again == transform
    assert hash(again) == hash(transform)
    assert transform.replace(p=0.25).arguments == transform.arguments
    assert isinstance(again, Component)


def test_drawn_the_same_in_a_fresh_process():
    transform = Kornia("RandomAffine", degrees=(-30.0, 30.0), scale=(0.8, 1.2))
    code = (
        "import sys, torch; from ssmtl.views.kornia_warp import Kornia; "
        "op = Kornia.model_validate_json(sys.argv[1]); "
        "print(op.matrix(torch.tensor([[41.0]], dtype=torch.float64), (37, 52))[0].tolist())"
    )
    run = subprocess.run([sys.executable, "-c", code, transform.model_dump_json()], capture_output=True, text=True)
    assert run.stderr == ""
    assert json.loads(run.stdout) == transform.matrix(SEEDS, SIZE)[1].tolist()


def test_named_arguments_are_arguments():
    transform = Kornia("RandomAffine", scale=[0.8, 1.2], degrees=np.float64(30), p=0.5, follow="same")
    assert transform.arguments == (("degrees", 30.0), ("scale", (0.8, 1.2)))
    assert (transform.p, transform.follow) == (0.5, "same")
    assert Kornia("RandomAffine", arguments={"degrees": 30.0}, scale=(0.8, 1.2)).arguments == transform.arguments


def test_p_of_the_object_becomes_ours():
    assert Kornia.of(K.RandomRotation(3.0, p=0.2)).p == 0.2
    assert Kornia.of(K.RandomResizedCrop((9, 9))).p == 1
    flips = Policy(always=(K.RandomHorizontalFlip(p=0.25),)).sample(1, np.arange(4000), SIZE)
    assert float((flips.geometry.matrix[:, 0, 0] == -1).double().mean()) == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
    ("op", "names"),
    [
        (K.RandomAffine(9.0), ("Rotate",)),
        (K.RandomAffine(0.0, translate=(0.1, 0.0)), ("TranslateX",)),
        (K.RandomAffine(0.0, shear=5.0, scale=(0.5, 0.5)), ("ShearX", "ScaleCrop")),
        (K.RandomRotation90((1, 1)), ("Rot90",)),
        (K.RandomShear((-9.0, 9.0)), ("ShearX",)),
        (K.RandomTranslate(None, (-0.1, 0.1)), ("TranslateY",)),
        (K.RandomHorizontalFlip(), ("HorizontalFlip",)),
        (K.RandomVerticalFlip(), ("VerticalFlip",)),
        (K.RandomPerspective(), ("Perspective",)),
        (K.RandomResizedCrop((9, 9)), ("RandomResizedCrop",)),
        (K.CenterCrop(9), ("ScaleCrop",)),
        (Upright(), ("Rotate",)),
        (Sneaky(30.0), ("Rotate", "Sneaky", "HorizontalFlip")),
    ],
    ids=lambda value: title(value) if isinstance(value, torch.nn.Module) else "",
)
def test_names_that_a_task_must_declare(op, names):
    assert Kornia.of(op).names == names


@pytest.mark.parametrize("op", [K.RandomHorizontalFlip(p=1.0), Sneaky(30.0)], ids=title)
def test_no_flip_through_the_back_door(op):
    """A task that can't bear flips doesn't declare them, so whatever flips must say so."""
    policy = Policy(always=(op, K.RandomRotation(3.0)))
    assert ["HorizontalFlip" in transform.names for transform in policy.always] == [True, False]


def test_policy_moves_by_the_matrix():
    policy = Policy(
        always=(Kornia("RandomTranslate", translate_x=(0.1, 0.1)),), pool=(K.RandomShear(20.0, p=1.0),), num_ops=1
    )
    shear = policy.pool[0]
    draw = policy.sample(9, np.arange(3), (30, 40))
    right = torch.eye(3, dtype=torch.float64)
    right[0, 2] = 4
    numbers = uniform(9, np.arange(3), 3 + 4)
    seeds = torch.from_numpy(np.floor(numbers[:, 6:] * 2.0**53))
    torch.testing.assert_close(draw.geometry.matrix, shear.matrix(seeds, (30, 40)) @ right, rtol=0, atol=1e-5)


def test_crops_frame_a_view_and_do_not_belong_into_a_pool():
    crop = Kornia("RandomCrop", size=(32, 32), padding=4, padding_mode="reflect")
    assert (crop.frames, crop.mirrors) == (True, True)
    draw = Policy(always=(crop,)).sample(1, np.arange(500), (32, 32))
    assert draw.geometry.size == (32, 32)
    assert draw.framed is not None
    assert {*draw.geometry.matrix[:, 0, 2].tolist()} == {float(shift) for shift in range(-4, 5)}
    assert "put it into 'always'" in sentence(lambda: Policy(pool=(crop,), num_ops=1))
    assert "overlapping' takes ScaleCrop" in sentence(lambda: crop.replace(follow="overlapping"))
    plain = Kornia("RandomAffine", degrees=3.0)
    assert (plain.frames, plain.mirrors) == (False, False)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Kornia("RandomAfine", degrees=3.0), "no 'RandomAfine'; did you mean 'RandomAffine'?"),
        (lambda: Kornia("RandomAffine", degres=3.0), "no argument 'degres'; did you mean 'degrees'?"),
        (lambda: Kornia("RandomAffine"), "missing 1 required positional argument: 'degrees'"),
        (lambda: Kornia("RandomRotation", degrees=500.0), "RandomRotation(degrees=500.0) is refused by it"),
        (lambda: Kornia("RandomInvert"), "RandomInvert changes levels, not places"),
        (lambda: Kornia("AugmentationSequential"), "is not a geometric augmentation"),
        (lambda: Kornia("RandomAffine3D", degrees=3.0), "is not a geometric augmentation of 2D images"),
        (lambda: Kornia(f"{__name__}:Squeezed"), "has no 'Squeezed'; did you mean 'Squeeze'?"),
        (lambda: Kornia(f"{__name__}:RIGID"), "is not a geometric augmentation"),
        (lambda: Kornia("RandomRotation", degrees=object()), "can't be kept in a recipe; give numbers"),
        (lambda: Kornia("RandomRotation", degrees=float("nan")), "degrees=nan can't be kept"),
        (lambda: Kornia("RandomRotation", degrees=3.0, same_on_batch=True), "depend on its batch; leave them out"),
        (lambda: Kornia("RandomRotation", arguments=(("p", 1), ("degrees", 3))), "give Kornia(..., p=...)"),
        (lambda: Kornia("RandomRotation", arguments=(("degrees", 1), ("degrees", 3))), "hold a name twice"),
        (lambda: Kornia("RandomRotation", degrees=3.0, p=1.5), "p: Input should be less than or equal to 1"),
        (lambda: Kornia("RandomAffine", degrees=3.0, padding_mode="border"), "has padding by 'border', but"),
        (lambda: Kornia("RandomAffine", degrees=3.0, padding_mode="reflection"), "padding by 'reflection', but"),
        (lambda: Kornia("RandomCrop", size=(9, 9), padding=1, fill=1), "has a fill other than 0, but"),
        (lambda: Kornia("CenterCrop", size=(90, 90)).view_size(SIZE), "can't be applied to images of (37, 52)"),
        (lambda: Kornia("CenterCrop", size=(9, 9), p=0.5).view_size(SIZE), "set p=1 instead of p=0.5"),
        (lambda: Kornia.of(K.RandomRotation(3.0, same_on_batch=True)), "made with same_on_batch=True"),
        (lambda: Kornia.of(K.RandomHorizontalFlip(p_batch=0.5)), "or with p_batch"),
        (lambda: Kornia.of(K.RandomAffine(3.0, padding_mode="border")), "has padding by 'border', but"),
        (lambda: Kornia.of(K.RandomAffine), "missing 1 required positional argument"),
        (lambda: Kornia.of(K.RandomInvert()), "RandomInvert changes levels, not places"),
        (lambda: Kornia.of(Forgetful(0.9)), f'Kornia("{__name__}:Forgetful", argument=...) with those'),
        (lambda: Kornia.of(K.LongestMaxSize(9)), 'Kornia("LongestMaxSize", argument=...) with those'),
        (lambda: Policy(always=(K.RandomSolarize(),)), "RandomSolarize changes levels, not places"),
    ],
)
def test_refusals(call, said):
    assert said in sentence(call)


@pytest.mark.parametrize(("theirs", "ours"), [("RandomInvert", "Invert"), ("RandomErasing", "Cutout")])
def test_photometric_ones_have_our_names(theirs, ours):
    assert f"among them {ours}; see `ssmtl list`" in sentence(lambda: Kornia(theirs))


def test_a_class_inside_a_function_has_no_name():
    class Hidden(Squeeze):
        pass

    assert "can't be found again by its name; define it at the top level" in sentence(lambda: Kornia.of(Hidden()))


def test_a_recipe_can_be_read_where_its_class_is_not_imported():
    transform = Kornia("colorado.rivers:Bend", by=(1, 2.5), p=0.5)
    assert Kornia.model_validate_json(transform.model_dump_json()) == transform
    assert (transform.names, transform.elastic, transform.frames, transform.mirrors) == ((), False, False, False)
    assert transform.view_size(SIZE) == SIZE
    said = sentence(lambda: transform.matrix(SEEDS, SIZE))
    assert "'colorado.rivers' has not been imported" in said
    assert "import it in the recipe file" in said
    assert Kornia("__main__:Bend").names == ()


def test_reading_a_name_imports_nothing():
    assert "this" not in sys.modules
    Kornia("this:s")
    assert "this" not in sys.modules


def test_a_registered_class_needs_no_module(monkeypatch):
    monkeypatch.setattr(kornia_classes, "kinds", lambda group: ("Squeeze",) if group == "kornia" else ())
    monkeypatch.setattr(kornia_classes, "resolve", lambda group, name: {"Squeeze": Squeeze}[name])
    transform = Kornia("Squeeze", least=0.25)
    assert transform.matrix(SEEDS, SIZE).shape == (3, 3, 3)
    assert Kornia.of(Squeeze(0.25, p=1.0)) == transform


def test_objects_and_names_go_straight_into_a_policy():
    policy = Policy(always=(K.RandomRotation(3.0), Squeeze(0.25)))
    assert [op.augmentation for op in policy.always] == ["RandomRotation", f"{__name__}:Squeeze"]
    again = Policy.model_validate_json(policy.model_dump_json())
    assert again == policy
    draws = [one.sample(1, np.arange(4), SIZE).geometry.matrix for one in (policy, again)]
    assert torch.equal(*draws)
    assert as_transform(K.RandomVerticalFlip) == Kornia("RandomVerticalFlip", p=0.5)
