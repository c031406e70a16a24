import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ssmtl.datasets.canvas import place_image, place_mask, shown_size

SIDES = st.integers(1, 500)


def test_stretch_fills_the_canvas_and_pad_keeps_the_shape() -> None:
    assert shown_size((100, 50), (64, 64), "stretch") == (64, 64)
    assert shown_size((100, 50), (64, 64), "pad") == (64, 32)
    assert shown_size((50, 100), (64, 64), "pad") == (32, 64)
    assert shown_size((10, 10), (64, 32), "pad") == (32, 32)


@given(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES))
def test_padding_touches_the_canvas_and_keeps_the_aspect(source: tuple[int, int], canvas: tuple[int, int]) -> None:
    height, width = shown_size(source, canvas, "pad")
    assert 1 <= height <= canvas[0]
    assert 1 <= width <= canvas[1]
    assert height == canvas[0] or width == canvas[1]
    scale = min(canvas[0] / source[0], canvas[1] / source[1])
    assert abs(height - max(1, source[0] * scale)) <= 0.5
    assert abs(width - max(1, source[1] * scale)) <= 0.5


def test_shrinking_averages_where_picking_pixels_would_alias() -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    small = place_image(Image.fromarray(stripes), (8, 8), 1, (8, 8))
    assert small.shape == (1, 8, 8)
    assert np.abs(small[0, :, 1:-1].astype(int) - 127.5).max() <= 4


def test_images_stand_top_left_over_zeros_and_masks_over_ignore() -> None:
    image = place_image(Image.new("L", (10, 20), 77), (8, 8), 1, (8, 4))
    assert (image[0, :, :4] == 77).all()
    assert (image[0, :, 4:] == 0).all()
    mask = place_mask(np.ones((20, 10), np.uint8), (8, 8), (8, 4))
    assert (mask[:, :4] == 1).all()
    assert (mask[:, 4:] == 255).all()


def test_channels_are_converted() -> None:
    red = Image.new("RGB", (4, 4), (255, 0, 0))
    assert (place_image(red, (4, 4), 1, (4, 4)) == 76).all()  # 0.299 * 255 = 76.2
    assert place_image(red, (4, 4), 3, (4, 4))[:, 0, 0].tolist() == [255, 0, 0]
    gray = place_image(Image.new("L", (4, 4), 9), (4, 4), 3, (4, 4))
    assert gray.shape == (3, 4, 4)
    assert (gray == 9).all()


def test_masks_never_blend() -> None:
    mask = np.random.default_rng(0).integers(0, 2, (37, 53), dtype=np.uint8)
    assert set(np.unique(place_mask(mask * 200, (16, 16), (16, 16)))) == {0, 200}
    np.testing.assert_array_equal(
        place_mask(np.eye(4, dtype=np.uint8), (8, 8), (8, 8)), np.kron(np.eye(4), np.ones((2, 2)))
    )
