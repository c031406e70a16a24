"""Rendering: one resampling with the right pixels in it, whatever the company, the size or the autocast."""

from contextlib import nullcontext

import kornia.augmentation
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssmtl.keyed import key
from ssmtl.views.framing import RandomResizedCrop, ReflectCrop
from ssmtl.views.geometry import Geometry, between
from ssmtl.views.moving import move_labels, move_soft
from ssmtl.views.policy import Draw, Policy
from ssmtl.views.presets import identity, multimix_strong, multimix_weak
from ssmtl.views.render import Rendered, render
from ssmtl.views.transform import Photometric, Stage, as_transform
from ssmtl.views.warps import Perspective, Rotate, TranslateX

EYE = torch.eye(3, dtype=torch.float64)[None]


def images_of(n, channels, size, seed=0):
    return torch.randint(0, 256, (n, channels, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def draw_of(matrix, size, framed=None, stages=(), sizes=None):
    return Draw(Geometry(matrix, size, source_size=sizes), size, framed, stages)


def shift(x, y):
    matrix = EYE.clone()
    matrix[:, 0, 2], matrix[:, 1, 2] = x, y
    return matrix


def flip(width):
    matrix = EYE.clone()
    matrix[:, 0, 0], matrix[:, 0, 2] = -1, width - 1
    return matrix


def rotate(degrees, size):
    return Rotate().matrix(torch.tensor([[degrees]], dtype=torch.float64), size)


def test_identity_is_the_image_bit_by_bit_and_all_valid():
    images = images_of(3, 3, (19, 23))
    view = render(images, identity().sample(0, np.arange(3), (19, 23)))
    assert view.image.dtype == torch.float32
    assert torch.equal(view.image, images.float() / 255)
    assert view.valid.all()


def test_flip_is_flip_bit_by_bit():
    images = images_of(1, 1, (19, 23))
    view = render(images, draw_of(flip(23), (19, 23), framed=flip(23)))
    assert torch.equal(view.image, images.flip(-1).float() / 255)


@pytest.mark.parametrize("mirror", [False, True])
def test_reflect_crop_is_padding_by_reflection_bit_by_bit(mirror):
    """As `pad(mode="reflect")`, the outermost pixel isn't repeated; what is mirrored is image, but not valid."""
    size, (x, y) = (16, 24), (5, -3)
    images = images_of(1, 3, size)
    matrix = shift(x, y) @ (flip(24) if mirror else EYE)
    view = render(images, draw_of(matrix, size, framed=matrix))
    source = images.flip(-1) if mirror else images
    padded = torch.nn.functional.pad(source.float(), (8, 8, 8, 8), mode="reflect")
    assert torch.equal(view.image, padded[..., 8 - y : 8 - y + 16, 8 - x : 8 - x + 24] / 255)
    expected = torch.zeros(size, dtype=torch.bool)
    expected[: 16 + y, x:] = True
    assert torch.equal(view.valid[0], expected)


def test_whole_pixel_translation_is_black_outside():
    size = (10, 20)
    images = images_of(1, 1, size).clamp(min=1)
    view = render(images, draw_of(shift(6, 0), size))
    assert torch.equal(view.image[..., 6:], images[..., :-6].float() / 255)
    assert (view.image[..., :6] == 0).all()
    assert torch.equal(view.valid[0, 0], torch.arange(20) >= 6)


def test_black_is_outside_of_the_mirrored_frame():
    """Crop 4 to the right, then translate 6 more: 6 black columns, 4 mirrored ones, then the image."""
    size = (3, 20)
    images = torch.arange(100, 120, dtype=torch.uint8).expand(1, 1, 3, 20)
    view = render(images, draw_of(shift(6, 0) @ shift(4, 0), size, framed=shift(4, 0)))
    levels = (view.image[0, 0, 0] * 255).round().int().tolist()
    assert levels == [0] * 6 + [104, 103, 102, 101] + list(range(100, 110))
    assert view.valid[0, 0].tolist() == [False] * 10 + [True] * 10


def test_sampled_rows_agree_with_copied_ones():
    """The same frame and a shift, once by whole pixels and once a hair beside, which takes the other way."""
    size = (21, 34)
    images = images_of(1, 3, size)
    framed = shift(-5, 7) @ flip(34)
    exact = render(images, draw_of(shift(3, 2) @ framed, size, framed=framed))
    sampled = render(images, draw_of(shift(3 + 1e-9, 2) @ framed, size, framed=framed))
    assert (exact.image - sampled.image).abs().max() < 1e-4
    assert not torch.equal(exact.image, sampled.image)
    assert torch.equal(exact.valid, sampled.valid)


def test_what_left_the_frame_and_came_back_is_image_and_target_alike():
    size = (4, 12)
    images = images_of(1, 1, size).clamp(min=1)
    view = render(images, draw_of(shift(-5, 0) @ shift(5, 0), size, framed=shift(5, 0)))
    assert torch.equal(view.image, images.float() / 255)
    assert view.valid.all()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6), height=st.integers(3, 40), width=st.integers(3, 40), channels=st.sampled_from([1, 3])
)
def test_valid_pixels_show_the_source_and_labels_land_on_them(seed, height, width, channels):
    """A label map moved by a view's matrix is defined exactly where the view is valid, and never on black."""
    size = (height, width)
    images = torch.full((4, channels, *size), 200, dtype=torch.uint8)
    policy = multimix_strong().replace(pool=("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY"), probability=1.0)
    view = render(images, policy.sample(seed, np.arange(4), size))
    labels = move_labels(torch.ones((4, *size), dtype=torch.long), Geometry(view.geometry.matrix, size))
    assert ((labels == 1) != view.valid).flatten(1).sum(1).max() <= 1  # float32 may decide a pixel on the very border
    assert torch.allclose(view.image.amin(1)[view.valid], torch.tensor(200 / 255))
    assert view.geometry.valid is None or torch.equal(view.geometry.valid, view.valid)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6), height=st.integers(1, 40), width=st.integers(1, 40), channels=st.sampled_from([1, 3])
)
def test_a_row_renders_the_same_alone_and_in_any_company(seed, height, width, channels):
    images = images_of(5, channels, (height, width), seed)
    policy = multimix_strong()
    together = render(images, policy.sample(seed, np.arange(5), (height, width)))
    assert 0 <= together.image.min() <= together.image.max() <= 1
    for row in range(5):
        alone = render(images[row : row + 1], policy.sample(seed, np.array([row]), (height, width)))
        assert torch.equal(alone.image[0], together.image[row])
        assert torch.equal(alone.valid[0], together.valid[row])


def test_rows_draw_their_own_levels():
    images = images_of(3, 1, (8, 8))
    stages = (
        Stage(as_transform("Brightness"), torch.tensor([2, 0]), torch.tensor([[0.0], [0.5]], dtype=torch.float64)),
        Stage(as_transform("Solarize"), torch.tensor([2]), torch.tensor([[0.0]], dtype=torch.float64)),
    )
    view = render(images, draw_of(EYE.repeat(3, 1, 1), (8, 8), stages=stages))
    levels = (view.image * 255).round()
    assert torch.equal(levels[0], (images[0] // 2).float())
    assert torch.equal(levels[1], images[1].float())
    assert (levels[2] == 255).all()


def test_images_come_back_untouched():
    images = images_of(4, 3, (16, 16))
    before = images.clone()
    render(images, multimix_strong().sample(1, np.arange(4), (16, 16)))
    assert torch.equal(images, before)


def test_autocast_changes_nothing():
    images = images_of(12, 1, (64, 48))
    draw = multimix_strong().replace(probability=1.0).sample(2, np.arange(12), (64, 48))
    expected = render(images, draw)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = render(images, draw)
    assert under.image.dtype == torch.float32
    assert torch.equal(under.image, expected.image)
    assert torch.equal(under.valid, expected.valid)


def test_nothing_waits_for_the_device(monkeypatch):
    """On the meta device whatever looks at pixels raises: a synchronization would, and so would a forgotten copy."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())
    images = images_of(24, 3, (32, 24)).to("meta")
    draw = multimix_strong().replace(probability=1.0).sample(2, np.arange(24), (32, 24))
    photometric = {op.kind for op in multimix_strong().pool if isinstance(op, Photometric)}
    assert {stage.op.kind for stage in draw.stages} == photometric
    view = render(images, draw)
    moved = between(view.geometry, view.geometry.rows(torch.arange(24)))
    soft, valid = move_soft(view.image, moved)
    labels = move_labels(view.valid.long(), moved)
    assert {part.device.type for part in (view.image, view.valid, soft, valid, labels)} == {"meta"}
    assert moved.matrix.device.type == "cpu"


def test_no_rows():
    view = render(images_of(0, 3, (8, 9)), multimix_strong().sample(0, np.arange(0), (8, 9)))
    assert view.image.shape == (0, 3, 8, 9)
    assert view.valid.shape == (0, 8, 9)


def test_canvas_outside_of_the_image_is_never_valid():
    images = images_of(2, 1, (20, 30))
    sizes = torch.tensor([[20, 30], [12, 17]])
    view = render(images, draw_of(flip(30).repeat(2, 1, 1), (20, 30), flip(30).repeat(2, 1, 1), sizes=sizes))
    assert view.valid[0].all()
    expected = torch.zeros(20, 30, dtype=torch.bool)
    expected[:12, 13:] = True
    assert torch.equal(view.valid[1], expected)


def test_pseudo_labels_from_the_weak_view_leave_out_mirrored_pixels():
    size = (6, 12)
    images = images_of(1, 1, size)
    weak = render(images, draw_of(shift(4, 0), size, framed=shift(4, 0)))
    strong = render(images, draw_of(flip(12), size, framed=flip(12)))
    pseudo = torch.arange(12).expand(1, *size)
    moved = move_labels(pseudo, between(weak.geometry, strong.geometry))
    assert moved[0, 0].tolist() == [255, 255, 255, 255, 11, 10, 9, 8, 7, 6, 5, 4]


def test_joined_views_are_the_views_in_order():
    images, size = images_of(3, 1, (9, 7)), (9, 7)
    draw = multimix_weak().sample(4, np.arange(3), size)
    together = render(images, draw)
    parts = [
        render(images[rows], multimix_weak().sample(4, rows.numpy(), size))
        for rows in (torch.tensor([0]), torch.tensor([1, 2]))
    ]
    joined = Rendered.cat(parts)
    assert torch.equal(joined.image, together.image)
    assert torch.equal(joined.geometry.matrix, together.geometry.matrix)
    assert torch.equal(joined.geometry.valid, together.valid)
    with pytest.raises(ValueError, match="joining views needs one size, got no views"):
        Rendered.cat([])


def test_wrong_images_are_refused_in_a_sentence():
    draw = identity().sample(0, np.arange(2), (8, 8))
    with pytest.raises(ValueError, match=r"uint8 \(0 to 255\) or float \(0 to 1\), got torch.int64: convert"):
        render(torch.ones(2, 1, 8, 8, dtype=torch.int64), draw)
    with pytest.raises(ValueError, match=r"float images must be in \[0, 1\], got 0 to 255: render before normalizing"):
        render(torch.tensor([0.0, 255.0]).view(2, 1, 1, 1).expand(2, 1, 8, 8), draw)
    with pytest.raises(ValueError, match=r"must be in \[0, 1\], got nan"):
        render(torch.full((2, 1, 8, 8), float("nan")), draw)
    with pytest.raises(ValueError, match=r"\(2, 1, 8, 9\) don't fit .* \(2, 8, 8\): sample the policy"):
        render(images_of(2, 1, (8, 9)), draw)
    with pytest.raises(ValueError, match="don't fit"):
        render(images_of(3, 1, (8, 8)), draw)


def test_float_rows_that_draw_no_op_are_not_rounded():
    images = torch.rand(20, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    drawn = Policy(always=(as_transform("Invert").replace(p=0.5),)).sample(0, np.arange(20), (16, 16))
    still = sorted({*range(20)} - {*drawn.stages[0].rows.tolist()})
    assert 0 < len(still) < 20
    assert torch.equal(render(images, drawn).image[still], images[still])


@pytest.mark.parametrize("layout", [torch.channels_last, "permuted"])
@pytest.mark.parametrize("name", ["Invert", "Equalize", "Sharpness"])
def test_images_of_any_memory_layout_look_the_same(layout, name):
    images = images_of(3, 3, (32, 40))
    draw = Policy(always=(name,)).sample(0, np.arange(3), (32, 40))
    if layout == "permuted":
        other = images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    else:
        other = images.to(memory_format=layout)
    assert torch.equal(render(other, draw).image, render(images, draw).image)


def test_the_mirrored_frame_has_the_size_at_which_it_was_chosen():
    """What is cut out of white images and mirrored is white."""
    white = torch.full((40, 1, 32, 32), 255, dtype=torch.uint8)
    whole = RandomResizedCrop((64, 64), area=(1, 1), ratio=(1, 1))
    larger = Policy(always=(whole, ReflectCrop(pad=0.25)))
    assert (render(white, larger.sample(0, np.arange(40), (32, 32))).image > 0.99).all()
    padded = kornia.augmentation.RandomCrop((40, 40), padding=8, padding_mode="reflect", p=1.0)
    assert (render(white, Policy(always=(padded,)).sample(0, np.arange(40), (32, 32))).image > 0.99).all()
    moved = larger.replace(always=(*larger.always, TranslateX(0.5, 0.5))).sample(0, np.arange(40), (32, 32))
    shifts = (moved.geometry.matrix[:, 0, 2] - 0.5).abs() - 32  # what lies beyond the frame is still there
    black = (render(white, moved).image[:, 0, 32] == 0).sum(1)
    assert torch.equal(black, (32 + shifts.clamp(max=0)).long())


def test_rows_that_do_not_draw_the_mirroring_crop_are_not_mirrored():
    white = torch.full((20, 1, 32, 32), 255, dtype=torch.uint8)
    draw = Policy(always=(Rotate(30, 30), ReflectCrop(p=0.5))).sample(0, np.arange(20), (32, 32))
    (chosen,) = (applied.rows.tolist() for applied in draw.record if applied.op.kind == "ReflectCrop")
    corners = render(white, draw).image[:, 0, 0, 0]
    assert 0 < len(chosen) < 20
    assert [row for row in range(20) if corners[row] > 0] == chosen


def test_rows_beside_a_perspective_are_what_they_are_alone():
    images = images_of(12, 3, (24, 24))
    policy = Policy(pool=(Perspective(0.3, 0.5), Rotate()), num_ops=1)
    together = render(images, policy.sample(1, np.arange(12), (24, 24))).image
    for row in range(12):
        alone = render(images[row : row + 1], policy.sample(1, np.array([row]), (24, 24))).image
        assert torch.equal(alone[0], together[row])


GOLDEN = [0.53962, 0.06841, 0.35306, 0.26052, 0.45128, 0.47537]


def test_the_strong_view_of_a_fixed_key_stays_the_same():
    """A run must be repeatable across versions: a change here changes every run."""
    images = (torch.arange(32 * 32).reshape(1, 1, 32, 32) % 251).to(torch.uint8).repeat(6, 1, 1, 1)
    policy = multimix_strong().replace(probability=1.0)
    view = render(images, policy.sample(key("view", 0), np.arange(6), (32, 32)))
    assert view.image.mean((1, 2, 3)).tolist() == pytest.approx(GOLDEN, abs=1e-4)
