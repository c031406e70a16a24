import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssmtl.datasets.box_columns import Listing, Row, SourceBoxes, as_written, half_open
from ssmtl.datasets.canvas import place_mask
from ssmtl.errors import DataError

FILE = Path("boxes.json")


def source_boxes(*xyxy: tuple[float, ...], size: tuple[int, int] = (0, 0)) -> SourceBoxes:
    m = len(xyxy)
    return SourceBoxes(
        "a.json, image b.png", np.array(xyxy, np.float64).reshape(-1, 4), np.arange(m), np.zeros(m, bool), size
    )


def test_boxes_are_scaled_with_their_image() -> None:
    placed = source_boxes((10, 20, 30, 60), (0, 0, 100, 80)).placed((80, 100), (40, 25))
    assert placed.xyxy.tolist() == [[2.5, 10, 7.5, 30], [0, 0, 25, 40]]
    assert placed.xyxy.dtype == np.float32
    assert placed.labels.tolist() == [0, 1]


def test_what_sticks_out_is_cut_off() -> None:
    placed = source_boxes((-5, -1, 30, 60), (90, 70, 100.4, 80.01)).placed((80, 100), (80, 100))
    assert placed.xyxy.tolist() == [[0, 0, 30, 60], [90, 70, 100, 80]]


def test_no_boxes_are_a_list_without_boxes() -> None:
    placed = source_boxes().placed((80, 100), (40, 40))
    assert placed.xyxy.shape == (0, 4)
    assert len(placed) == 0


@given(
    st.tuples(st.integers(4, 40), st.integers(4, 40)),
    st.integers(1, 4),
    st.tuples(*[st.integers(0, 39)] * 4),
)
def test_boxes_move_as_masks_do(source: tuple[int, int], factor: int, sides: tuple[int, ...]) -> None:
    """The hull of a mask that is enlarged is the enlarged hull, so edges are half-open on both sides."""
    x1, x2 = sorted(side % source[1] for side in sides[:2])
    y1, y2 = sorted(side % source[0] for side in sides[2:])
    mask = np.zeros(source, np.uint8)
    mask[y1 : y2 + 1, x1 : x2 + 1] = 1
    shown = (source[0] * factor, source[1] * factor)
    rows, columns = np.nonzero(place_mask(mask, shown, shown))
    placed = source_boxes((x1, y1, x2 + 1, y2 + 1)).placed(source, shown)
    assert placed.xyxy.tolist() == [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((100, 0, 120, 10), "expected boxes that touch their image of 80 x 100"),
        ((-9, 0, 0, 10), "expected boxes that touch their image of 80 x 100"),
        ((5, 5, 5, 9), "expected x1 < x2 and y1 < y2"),
        ((9, 5, 5, 9), "expected x1 < x2 and y1 < y2"),
        ((0, float("nan"), 5, 9), "expected finite numbers"),
        ((0, 0, float("inf"), 9), "expected finite numbers"),
    ],
)
def test_boxes_that_are_none_are_refused(box: tuple[float, ...], expected: str) -> None:
    with pytest.raises(DataError, match=rf"^a\.json, image b\.png: box 1 of 2 is .*{expected}"):
        source_boxes((0, 0, 1, 1), box).placed((80, 100), (80, 100))


def test_messages_say_what_the_edges_are_made_of() -> None:
    rows = [Row(0, 0, False, 9, 0, 20, 1)]
    columns = Listing.of(FILE, ("a",), rows, terms="x, y, x + width, y + height").columns(("a",), Path("images"))
    with pytest.raises(
        DataError, match=r"a: box 0 of 1 is \[9.0, 0.0, 20.0, 1.0\] \(x, y, x \+ width, y \+ height\), "
    ):
        columns.read(0, "a").placed((8, 8), (8, 8))
    thin = source_boxes((3, 1, 3 + 1e-12, 2))
    with pytest.raises(DataError, match=r"box 0 of 1 is \[3.0, 1.0, 3.0, 2.0\] \(on the canvas\), expected x1 < x2"):
        thin.placed((8, 8), (8, 8))


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        ((0, 0, 0, 0), None),
        ((39.5, 19.5, 60, 60), None),
        ((-5, -5, 0, 0), None),
        ((3, 4, 2.5, 5), "can't come before its first"),
        ((3, 4, 5, 3.5), "can't come before its first"),
        ((-5, 4, -0.25, 5), "lies outside its image of 40x20 pixels"),
        ((3, -5, 5, -0.25), "lies outside its image of 40x20 pixels"),
        ((40, 4, 41, 5), "lies outside its image of 40x20 pixels"),
        ((3, 20, 5, 21), "lies outside its image of 40x20 pixels"),
    ],
)
def test_boxes_with_last_pixels_are_judged_by_their_own_numbers(
    corners: tuple[float, float, float, float], expected: str | None, first: int
) -> None:
    x1, y1, x2, y2 = (side + first for side in corners)
    if expected is None:
        edges = (corners[0], corners[1], corners[2] + 1, corners[3] + 1)
        assert half_open("a.xml", (x1, y1, x2, y2), first, (20, 40)) == edges
    else:
        with pytest.raises(DataError, match=rf"^a\.xml has the box \[{x1:g}, {y1:g}, {x2:g}, {y2:g}\], .*{expected}"):
            half_open("a.xml", (x1, y1, x2, y2), first, (20, 40))


def test_an_image_of_another_size_than_its_file_says_is_refused() -> None:
    boxes = source_boxes((0, 0, 9, 9), size=(80, 100))
    assert len(boxes.placed((80, 100), (8, 8))) == 1
    with pytest.raises(DataError, match=r"image b\.png: it says 100x80 pixels, but the image has 50x40, and boxes"):
        boxes.placed((40, 50), (80, 100))


def test_columns_are_in_the_order_of_the_images() -> None:
    rows = [Row(1, 4, False, 0, 0, 1, 1), Row(0, 2, True, 0, 0, 2, 2), Row(1, 3, False, 0, 0, 3, 3)]
    listing = Listing.of(FILE, ("c", "a", "d"), rows, [(5, 6), (7, 8), (0, 0)])
    columns = pickle.loads(pickle.dumps(listing.columns(("a", "b", "c", "d"), Path("images"))))
    assert columns.annotated().tolist() == [True, False, True, True]
    first, empty = columns.read(0, "a"), columns.read(3, "d")
    assert first.xyxy.tolist() == [[0, 0, 1, 1], [0, 0, 3, 3]]
    assert (first.labels.tolist(), first.crowd.tolist(), first.size) == ([4, 3], [False, False], (7, 8))
    assert columns.read(2, "c").crowd.tolist() == [True]
    assert (len(empty.xyxy), empty.size) == (0, (0, 0))


def test_listings_that_disagree_with_the_folder_are_refused() -> None:
    listing = Listing.of(FILE, ("a", "b"), [Row(0, 0, False, 0, 0, 1, 1)])
    with pytest.raises(DataError, match=r"boxes\.json lists the image b, which is not in images; restore the image"):
        listing.columns(("a",), Path("images"))
    with pytest.raises(DataError, match=r"boxes\.json doesn't list the image c, .* or take the image out\.$"):
        listing.refuse_unlisted(("a", "c"))
    with pytest.raises(DataError, match=r"boxes\.json lists the image b twice"):
        Listing.of(FILE, ("b", "a", "b"), [])


def test_a_box_costs_35_bytes() -> None:
    rows = np.zeros((1000, 7))
    rows[:, 0], rows[:, 5:] = np.arange(1000) // 10, 1
    columns = Listing(FILE, tuple(map(str, range(100))), np.zeros((100, 2), np.int32), rows).columns(
        tuple(map(str, range(100))), Path("images")
    )
    assert columns.xyxy.nbytes + columns.labels.nbytes + columns.crowd.nbytes == 35 * 1000
    assert columns.xyxy.base is None  # no view that keeps the rows it came from
    assert np.diff(columns.starts).tolist() == [10] * 100


def test_numbers_are_printed_as_the_file_has_them() -> None:
    assert as_written((10.0, -2.5, 2.9999999999999996, 1e300)) == "[10, -2.5, 2.9999999999999996, 1e+300]"
