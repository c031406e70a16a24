"""What tasks declare decides what a policy may hold, and is left with."""

from dataclasses import dataclass

import kornia.augmentation
import pytest

from ssmtl.datasets.chest_phantom import ChestPhantom
from ssmtl.errors import RecipeError
from ssmtl.models.multimix_unet import MultiMixEncoder
from ssmtl.models.multitask import Model
from ssmtl.objective import Objective
from ssmtl.recipe import Recipe, Source, Views
from ssmtl.strategies.fixmatch import FixMatch
from ssmtl.views.declared import allowed, check_aligned, check_names
from ssmtl.views.framing import ReflectCrop, ScaleCrop
from ssmtl.views.ops import FRAMES, GEOMETRIC, PHOTOMETRIC
from ssmtl.views.policy import Policy
from ssmtl.views.presets import POOL_DENSE, default_strong, dense_strong, dense_weak, multimix_strong, multimix_weak
from ssmtl.views.transform import Photometric
from ssmtl.views.warps import HorizontalFlip, Rotate
from ssmtl_tasks import Segmentation


@dataclass(frozen=True)
class Declares:
    """As much of a task as matters here."""

    name: str = "street"
    invariant_to: tuple[str, ...] = PHOTOMETRIC
    equivariant_to: tuple[str, ...] = GEOMETRIC


EQUIVARIANT, FRAMED = Declares(), Declares(equivariant_to=FRAMES)


def derived(policy, *tasks, view="strong", channels=3):
    return allowed(policy, view, tasks, channels, "the strong views of 'city'")


def kinds(ops):
    return [op.kind for op in ops]


def test_dense_fixmatch_and_fixmatch_star_differ_in_nothing_but_the_declaration():
    """Partially labeled data, Table 10: without equivariance no flip, no warp, and one crop for both views."""
    weak, strong = dense_weak((96, 96)), dense_strong((96, 96))
    assert derived(weak, EQUIVARIANT, view="weak") == weak
    assert derived(strong, EQUIVARIANT) == strong
    assert kinds(derived(weak, FRAMED, view="weak").always) == ["ScaleCrop"]
    star = derived(strong, FRAMED)
    assert kinds(star.always) == ["ScaleCrop", "Cutout"]
    assert star.always[0] == strong.always[0].replace(follow="same")
    assert kinds(star.pool) == [op.kind for op in POOL_DENSE if isinstance(op, Photometric)]
    assert (star.num_ops, star.scope, star.distinct) == (2, "batch", True)


def aligned(policy, task, view="strong"):
    return allowed(policy, view, [task], 3, f"the {view} views of 'city'", aligned=[task.name])


def test_aligned_views_keep_what_follows_and_what_leaves_targets_alone():
    """FixMatch* by strategy: the task moves with all, but nothing may happen to one view alone."""
    weak, strong = dense_weak((96, 96)), dense_strong((96, 96))
    assert aligned(weak, EQUIVARIANT, "weak") == derived(weak, FRAMED, view="weak")
    assert aligned(strong, EQUIVARIANT) == derived(strong, FRAMED)
    shared = dense_strong((96, 96), shared_flip=True)
    assert kinds(aligned(shared, EQUIVARIANT).always) == ["ScaleCrop", "HorizontalFlip", "Cutout"]
    assert aligned(dense_weak(shared_flip=True), EQUIVARIANT, "weak") == dense_weak(shared_flip=True)
    image_class = Declares("kind", (*PHOTOMETRIC, *GEOMETRIC), ())
    assert aligned(strong, image_class) == strong


def test_aligned_views_refuse_what_is_drawn_for_one_of_them():
    with pytest.raises(RecipeError, match="use HorizontalFlip without follow='same', but the strategy of the task 'st"):
        aligned(Policy(always=("HorizontalFlip",)), EQUIVARIANT, "weak")
    with pytest.raises(RecipeError, match=r"use Rotate without .* set follow='same' in both views, or use a strategy"):
        aligned(Policy(pool=("Rotate",), num_ops=1), EQUIVARIANT)


def test_aligned_views_refuse_what_moves_the_weak_view_only():
    flip, crop = HorizontalFlip(follow="same"), ScaleCrop((8, 8))
    weak, strong = Policy(always=(crop, flip)), Policy(always=(crop, "Cutout"))
    with pytest.raises(RecipeError, match="HorizontalFlip moves the weak view only, but the strategy of the task 'str"):
        check_aligned(weak, strong, [EQUIVARIANT], [EQUIVARIANT.name])
    check_aligned(weak, strong, [EQUIVARIANT], [])
    check_aligned(weak, strong.replace(always=(crop, flip)), [EQUIVARIANT], [EQUIVARIANT.name])
    check_aligned(weak, strong, [Declares("kind", (*PHOTOMETRIC, *GEOMETRIC), ())], ["kind"])


def test_the_pool_is_what_all_tasks_have_in_common():
    text = Declares("text", PHOTOMETRIC, ("Rotate", "ScaleCrop"))
    bright = Declares("bright", ("Solarize", "Rotate"), ())
    policy = Policy(pool=("Solarize", "Rotate", "ShearX", "Invert"), num_ops=2, distinct=True, derive=True)
    assert kinds(derived(policy, text).pool) == ["Solarize", "Rotate", "Invert"]
    assert kinds(derived(policy, text, bright).pool) == ["Solarize", "Rotate"]
    assert derived(policy, Declares("few", ("Invert",), ())).num_ops == 1


def test_gray_images_lose_the_ops_of_color():
    assert "Saturation" in kinds(derived(dense_strong(), EQUIVARIANT).pool)
    assert "Saturation" not in kinds(derived(dense_strong(), EQUIVARIANT, channels=1).pool)


def test_a_crop_of_its_own_needs_shifts():
    task = Declares("map", PHOTOMETRIC, ("ReflectCrop", "ScaleCrop"))
    for op in (ReflectCrop(), ScaleCrop((8, 8), follow="overlapping")):
        with pytest.raises(RecipeError, match=f"use {op.kind} with follow='any' .* 'map' .* set follow='same', or dec"):
            derived(Policy(always=(op,)), task)
        assert derived(Policy(always=(op,)), task, view="weak").always == (op,)
        assert derived(Policy(always=(op.replace(follow="same"),)), task).always[0].follow == "same"
        assert derived(Policy(always=(op,), derive=True), task).always[0].follow == "same"


@pytest.mark.parametrize(
    ("policy", "task", "message"),
    [
        (
            Policy(always=("HorizontalFlip",)),
            Declares("chest side", PHOTOMETRIC, ("Rotate",)),
            "views of 'city' use HorizontalFlip, which the task 'chest side' declares neither in invariant_to nor "
            "in equivariant_to; take it out of the policy, or add it",
        ),
        (
            Policy(always=(kornia.augmentation.RandomHorizontalFlip(),)),
            Declares("chest side", PHOTOMETRIC, ("Rotate",)),
            "use HorizontalFlip, which the task 'chest side' declares neither",
        ),
        (
            multimix_strong(),
            Declares("film", ("Identity",), ()),
            "use HorizontalFlip, which the task 'film' declares neither",
        ),
        (
            Policy(pool=(kornia.augmentation.RandomElasticTransform(p=1.0),), num_ops=1),
            Declares("boxes"),
            "use RandomElasticTransform, which no matrix describes, so the targets of the task 'boxes' can't move with "
            "it; use Rotate, ShearX or Perspective",
        ),
        (
            default_strong(),
            Declares("depth", (), ()),
            "the strong views of 'city' have no strong transform left: 'depth' declare none of the pool in common",
        ),
    ],
)
def test_what_is_refused(policy, task, message):
    with pytest.raises(RecipeError, match=message):
        derived(policy, task)


def test_an_op_of_color_on_gray_images_is_refused():
    with pytest.raises(RecipeError, match="use ColorJitter, which needs 3 channels, but the images have 1; take it"):
        derived(Policy(always=("ColorJitter",)), EQUIVARIANT, channels=1)


def test_what_follows_needs_a_lead():
    crop = ScaleCrop((8, 8), scale=(0.5, 2))
    Views(weak=Policy(always=(crop,)), strong=Policy(always=(crop.replace(follow="overlapping"),)))
    Views(weak=Policy(always=(crop,)), strong=Policy(always=(crop.replace(follow="any"),)))
    for weak in (Policy(), Policy(always=(crop.replace(scale=(1, 2)),)), Policy(always=(Rotate(),))):
        with pytest.raises(ValueError, match="ScaleCrop of the strong view follows that of the weak view, which has"):
            Views(weak=weak, strong=Policy(always=(crop,)))
    with pytest.raises(ValueError, match="ScaleCrop of the weak view overlaps itself; set follow='same'"):
        Views(weak=Policy(always=(crop.replace(follow="overlapping"),)))
    shared = Policy(always=(HorizontalFlip(follow="same"),))
    assert Views(weak=shared, strong=shared).strong == shared


def test_a_derived_crop_needs_something_to_follow():
    """Left alone, it would shift the strong view against the weak one, which the task forbids."""
    task = Segmentation("lungs", classes=("lung",), equivariant_to=("HorizontalFlip", "ReflectCrop", "ScaleCrop"))
    films = ChestPhantom(samples=8, canvas=(32, 32))
    fields = {
        "name": "lungs",
        "objectives": (Objective(task, FixMatch()),),
        "sources": (Source("films", films, serves=("lungs",)),),
        "model": Model(MultiMixEncoder()),
    }
    strong = multimix_strong().replace(derive=True)
    for weak in (multimix_weak(), Policy()):
        with pytest.raises(
            ValueError, match="ReflectCrop of the strong view follows that of the weak view, which has no"
        ):
            Recipe(views=Views(weak=weak, strong=strong), **fields)
    lead = Policy(always=(HorizontalFlip(), ReflectCrop(follow="same")))
    recipe = Recipe(views=Views(weak=lead, strong=strong), **fields)
    assert recipe.policy(recipe.sources[0], "strong").always[1] == ReflectCrop(follow="same")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (Declares("a", (), ("HorizontalFlips",)), "the task 'a' declares 'HorizontalFlips', .* mean 'HorizontalFlip'"),
        (
            Declares("a", ("Rotate",), ("Rotate",)),
            "'a' declares Rotate in invariant_to and in equivariant_to",
        ),
    ],
)
def test_declarations_are_checked(task, message):
    with pytest.raises(RecipeError, match=message):
        check_names(task, ())
    check_names(Declares("plugin", ("Rotate",), ("SomethingElseEntirely",)), ())
    check_names(Declares("plugin", (), ("HorizontalFlips",)), ("HorizontalFlips",))
