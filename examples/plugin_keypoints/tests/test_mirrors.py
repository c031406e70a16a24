"""Left and right: names are exchanged exactly where the image is mirrored, and nobody is mirrored unasked."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ssmtl import Objective, Policy, Recipe, Source, Supervised, Views
from ssmtl.models.multitask import Model
from ssmtl.models.timm_encoder import TimmEncoder
from ssmtl.views.geometry import Geometry, between
from ssmtl.views.warps import HorizontalFlip, Perspective, Rot90, Rotate, ShearX, VerticalFlip
from ssmtl_keypoints import FacePhantom, Keypoints, Points
from ssmtl_keypoints.phantom import MIRRORED

SIZE = (48, 64)
POINTS = ("left_eye", "right_eye", "nose")
PAIRS = (("left_eye", "right_eye"),)
FACE = Keypoints("face", points=POINTS, mirrored=PAIRS)
UNSAID = Keypoints("face", points=POINTS)


def batch(rows=1):
    xy = torch.tensor([[[40.0, 20.0], [20.0, 21.0], [30.0, 30.0]]]).repeat(rows, 1, 1)
    weight = torch.tensor([[1.0, 0.0, 1.0]]).repeat(rows, 1)
    return Points(xy, weight, torch.ones(rows, 3, dtype=torch.bool), torch.tensor(SIZE).repeat(rows, 1))


def view(*ops, seed=0):
    """The geometry of a weak view that does all of this, to one row."""
    geometry = Policy(always=ops).sample(seed, torch.arange(1).numpy(), SIZE).geometry
    return Geometry(geometry.matrix, geometry.size)


FLIP, UPSIDE_DOWN = view(HorizontalFlip(p=1)), view(VerticalFlip(p=1))


def test_a_mirrored_left_eye_is_where_the_right_one_was():
    moved = FACE.warp(batch(), FLIP)
    assert moved.xy[0].tolist() == [[63 - 20, 21], [63 - 40, 20], [33, 30]]
    assert moved.weight[0].tolist() == [0, 1, 1]


def test_rows_that_are_mirrored_and_rows_that_are_not_share_a_batch():
    still = torch.eye(3, dtype=torch.float64)
    moved = FACE.warp(batch(2), Geometry(torch.stack([FLIP.matrix[0], still]), SIZE))
    assert moved.xy[0, 0].tolist() == [43, 21]
    assert moved.xy[1].tolist() == batch().xy[0].tolist()


def test_two_mirrors_make_none():
    there = FACE.warp(FACE.warp(batch(), FLIP), FLIP)
    assert there.xy.tolist() == batch().xy.tolist()
    turned = FACE.warp(FACE.warp(batch(), FLIP), UPSIDE_DOWN)
    at_once = FACE.warp(batch(), Geometry(UPSIDE_DOWN.matrix @ FLIP.matrix, SIZE))
    assert turned.xy.tolist() == at_once.xy.tolist()
    assert turned.xy[0, 0].tolist() == [63 - 40, 47 - 20]


@given(weak=st.booleans(), strong=st.booleans(), angle=st.floats(0, 20))
def test_pseudo_labels_change_sides_where_one_view_is_mirrored_and_the_other_is_not(weak, strong, angle):
    turn = (Rotate(angle, angle),)
    source = view(*(HorizontalFlip(p=1),) * weak)
    into = view(*turn, *(HorizontalFlip(p=1),) * strong)
    on_weak = FACE.warp(batch(), source)
    by_way_of_weak = FACE.warp(on_weak, between(source, into))
    directly = FACE.warp(batch(), into)
    torch.testing.assert_close(by_way_of_weak.xy, directly.xy, atol=1e-3, rtol=0)
    assert torch.equal(by_way_of_weak.weight, directly.weight)


@given(op=st.sampled_from([Rotate(0, 60), ShearX(0, 0.5), Rot90(), Perspective(0, 0.5)]), seed=st.integers(0, 1000))
def test_what_turns_shears_or_converges_exchanges_nothing(op, seed):
    geometry = view(op, seed=seed)
    moved, plain = FACE.warp(batch(), geometry), UNSAID.warp(batch(), geometry)
    assert torch.equal(moved.xy, plain.xy)
    flipped = Geometry(FLIP.matrix @ geometry.matrix, SIZE)
    back = FACE.warp(FACE.warp(batch(), flipped), FLIP)
    seen = back.present & plain.present
    torch.testing.assert_close(back.xy[seen], plain.xy[seen], atol=1e-3, rtol=0)


def test_points_that_leave_the_view_or_are_blanked_are_gone_under_their_new_name():
    erased = torch.zeros(1, *SIZE, dtype=torch.bool)
    erased[:, :, :30] = True
    moved = FACE.warp(batch(), Geometry(FLIP.matrix, SIZE, erased=erased))
    assert moved.present[0].tolist() == [True, False, True]


def test_without_pairs_flips_are_not_declared():
    assert not {"HorizontalFlip", "VerticalFlip"} & {*UNSAID.equivariant_to}
    assert {"HorizontalFlip", "VerticalFlip"} <= {*FACE.equivariant_to}
    assert {"Rotate", "ScaleCrop"} <= {*UNSAID.equivariant_to}


def test_the_declaration_follows_when_pairs_are_given_later_or_taken_away():
    assert UNSAID.replace(mirrored=PAIRS) == FACE
    assert FACE.replace(mirrored=None) == UNSAID
    assert UNSAID.replace(points=("tip", "tail"), mirrored=()).equivariant_to == FACE.equivariant_to


def test_a_declaration_that_was_given_stays():
    shy = Keypoints("face", points=POINTS, mirrored=PAIRS, equivariant_to=("Rotate",))
    assert shy.equivariant_to == ("Rotate",)
    assert shy.replace(sigma=2.0).equivariant_to == ("Rotate",)


def test_json_keeps_the_declaration():
    for task in (UNSAID, FACE):
        assert Keypoints.model_validate_json(task.model_dump_json()) == task


def test_a_mirror_image_of_unpaired_points_is_refused_and_not_silently_wrong():
    with pytest.raises(ValueError, match="'face' can't be mirrored: give it `mirrored`"):
        UNSAID.warp(batch(), FLIP)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"mirrored": ()}, r"mirrored leaves out 'left_eye', .*pair it, such as"),
        ({"mirrored": (("left_eye", "rigt_eye"),)}, r"'rigt_eye', which is no point.*did you mean 'right_eye'\?"),
        ({"mirrored": (*PAIRS, ("nose", "left_eye"))}, r"names 'left_eye' twice"),
        ({"mirrored": (("nose", "nose"), *PAIRS)}, r"names 'nose' twice"),
        ({"equivariant_to": ("HorizontalFlip",)}, r"nothing says what a mirror image does .* or \(\) if none does"),
        ({"points": ("nose", "Nose")}, r"names a point twice"),
        ({"points": ("tip",)}, r"set pck_of='canvas'"),
        ({"points": ("left eye", "nose")}, r"should match pattern"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(fields, sentence):
    with pytest.raises(ValidationError, match=sentence):
        Keypoints(**{"name": "face", "points": POINTS, **fields})


@pytest.mark.parametrize("names", [("bright", "copyright"), ("upright_post", "nose")])
def test_a_name_that_only_contains_a_side_is_no_side(names):
    assert Keypoints("spots", points=names, mirrored=()).mirrored == ()


def recipe(task, weak):
    reader = FacePhantom(samples=8)
    return Recipe(
        name="flipped",
        objectives=(Objective(task, Supervised()),),
        sources=(Source("faces", reader, serves=(task.name,)),),
        model=Model(TimmEncoder("test_resnet"), channels=3),
        views=Views(weak=weak, strong=weak),
    )


@pytest.mark.parametrize("flip", [HorizontalFlip(), VerticalFlip()])
def test_a_recipe_whose_views_flip_is_refused_without_pairs(flip):
    task = Keypoints("face", points=FacePhantom().classes("keypoints"))
    with pytest.raises(ValidationError, match=rf"'faces' use {flip.kind}, which the task 'face' declares neither"):
        recipe(task, Policy(always=(flip,)))
    accepted = recipe(task.replace(mirrored=MIRRORED), Policy(always=(flip,)))
    assert accepted.policy(accepted.sources[0], "weak").always == (flip,)


def test_views_that_are_derived_leave_the_flip_out():
    task = Keypoints("face", points=FacePhantom().classes("keypoints"))
    plain = recipe(task, Policy(always=(HorizontalFlip(), Rotate()), derive=True))
    assert plain.policy(plain.sources[0], "weak").always == (Rotate(),)
