"""Pictures of masks and boxes: what is drawn where, in which color, and what stands beside it."""

import numpy as np
import pytest
import torch
from boxed import boxes_at, found_at
from torch.utils._pytree import tree_map

from ssmtl.palette import IGNORED, PALETTE, class_colors
from ssmtl_tasks import Segmentation
from ssmtl_tasks.detection import Detection
from ssmtl_tasks.detection_drawing import Frame, draw_frames
from ssmtl_tasks.drawing import FILL, VEIL
from ssmtl_tasks.targets import Labels

SIZE = (60, 90)
SCENE = Segmentation("scene", classes=("background", "road", "car"))
THINGS = Detection("things", classes=("car", "bus"))
TOP = 20
"""Rows above two panels, where their names stand."""
COLORS = class_colors(("road", "car", "bus"))


def gray(size=SIZE):
    return torch.full((3, *size), 90, dtype=torch.uint8)


def row(batch):
    return tree_map(lambda part: part[0], batch)


def is_color(picture, color):
    return (picture == torch.tensor(color, dtype=torch.uint8)[:, None, None]).all(0)


def hull(where):
    """Return (left, top, right, bottom), half-open, of what is True."""
    rows, columns = where.nonzero().T
    return columns.min().item(), rows.min().item(), columns.max().item() + 1, rows.max().item() + 1


def logits_of(labels, classes):
    return 20.0 * torch.nn.functional.one_hot(labels, classes).movedim(-1, 0).float()


def over_gray(color, strength, level=90):
    return [round(level * (1 - strength) + part * strength) for part in color]


class TestMasks:
    labels = torch.zeros(SIZE, dtype=torch.int64)
    labels[30:] = 1
    labels[20:40, 10:30] = 2
    labels[:5] = 255
    target = Labels(labels, torch.ones(SIZE))

    def test_one_map_has_the_size_of_the_image_and_the_colors_of_classes(self):
        picture = SCENE.draw(gray(), self.target, None, COLORS)
        assert picture[:, 50, 60].tolist() == over_gray(COLORS["road"], FILL)
        assert picture[:, 30, 20].tolist() == over_gray(COLORS["car"], FILL)
        assert picture[:, 15, 5].tolist() == [90, 90, 90]
        assert picture[:, 2, 5].tolist() == over_gray(IGNORED, VEIL)
        assert picture.shape == (3, *SIZE)

    def test_the_image_below_is_gray_so_that_only_classes_have_colors(self):
        image = gray()
        image[0] = 210
        picture = SCENE.draw(image, self.target, None)
        assert picture[:, 15, 5].tolist() == [130, 130, 130]

    def test_prediction_stands_right_of_the_reference_with_a_legend_below(self):
        predicted = torch.zeros(SIZE, dtype=torch.int64)
        predicted[10:20, 50:70] = 1
        picture = SCENE.draw(gray(), self.target, logits_of(predicted, 3), COLORS)
        road = is_color(picture, over_gray(COLORS["road"], FILL))
        assert picture.shape[2] == 2 * SIZE[1] + 8
        assert hull(road[:, : SIZE[1]]) == (0, TOP + 30, 90, TOP + 60)
        assert hull(road[:, SIZE[1] + 8 :]) == (50, TOP + 10, 70, TOP + 20)
        keys = [is_color(picture, color).sum() for color in (COLORS["road"], COLORS["car"], COLORS["bus"], IGNORED)]
        assert [bool(count >= 13 * 14) for count in keys] == [True, True, False, True]

    def test_predictions_come_to_the_size_of_the_image(self):
        small = torch.zeros(20, 30, dtype=torch.int64)
        small[10:] = 2
        nothing = row(SCENE.collate([None], SIZE))
        picture = SCENE.draw(gray(), nothing, logits_of(small, 3), COLORS)
        assert hull(is_color(picture, over_gray(COLORS["car"], FILL))) == (0, 30, 90, 60)

    def test_without_reference_and_prediction_the_image_stays(self):
        assert torch.equal(SCENE.draw(gray(), row(SCENE.collate([None], SIZE)), None), gray())


class TestBoxes:
    nothing = row(THINGS.collate([None], SIZE))

    def test_a_frame_is_two_pixels_on_the_inside_with_a_rim_around(self):
        picture = draw_frames(gray(), [Frame((20.0, 30.0, 40.0, 50.0), PALETTE[0], "car")])[:, 29:]
        assert hull(is_color(picture, PALETTE[0])) == (20, 1, 40, 21)
        assert is_color(picture, (0, 0, 0))[0, 19:41].all()
        assert (picture[:, 3:19, 22:38] == 90).all()
        assert is_color(picture, PALETTE[0])[2, 20:40].all()

    def test_dark_colors_have_a_bright_rim(self):
        picture = draw_frames(gray(), [Frame((20.0, 30.0, 40.0, 50.0), (75, 60, 15), "")])
        assert is_color(picture, (255, 255, 255))[29, 19:41].all()

    def test_boxes_below_a_score_of_one_half_are_left_out(self):
        pred = row(found_at([(20, 20, 30, 30), (50, 30, 60, 40)], [0, 1], [0.9, 0.49], size=SIZE))
        picture = THINGS.draw(gray(), self.nothing, pred, COLORS)
        assert is_color(picture, COLORS["car"])[20:30, 20].all()
        assert not is_color(picture, COLORS["bus"]).any()

    def test_predictions_are_drawn_where_an_image_of_another_size_shows_them(self):
        pred = row(found_at([(20, 20, 30, 30)], [0], [0.9], size=SIZE))
        picture = THINGS.draw(gray((120, 180)), self.nothing, pred, COLORS)
        where = is_color(picture, COLORS["car"])
        assert where[40:60, 40].all()
        assert where[59, 40:60].all()
        assert not where[60:].any()

    def test_reference_and_prediction_stand_beside_each_other(self):
        target = row(boxes_at([[(10, 40, 30, 55)]], labels=[[1]]))
        pred = row(found_at([(60, 40, 80, 55)], [0], [0.9], size=SIZE))
        picture = THINGS.draw(gray(), target, pred, COLORS)
        bus, car = (is_color(picture[:, TOP + 40 : TOP + 60], COLORS[name]) for name in ("bus", "car"))
        assert picture.shape[2] == 2 * 90 + 8
        assert hull(bus) == (10, 0, 30, 15)
        assert hull(car) == (90 + 8 + 60, 0, 90 + 8 + 80, 15)
        assert all(is_color(picture[:, 80:], COLORS[name]).sum() >= 13 * 14 for name in ("bus", "car"))

    def test_an_annotated_image_without_boxes_is_a_panel_and_one_nobody_looked_at_is_none(self):
        pred = row(found_at([(60, 40, 80, 55)], [0], [0.9], size=SIZE))
        looked = row(THINGS.collate([row(boxes_at([[]]))], SIZE))
        assert THINGS.draw(gray(), looked, pred).shape[2] == 2 * 90 + 8
        assert THINGS.draw(gray(), self.nothing, pred).shape == (3, *SIZE)
        assert torch.equal(THINGS.draw(gray(), self.nothing, None), gray())

    def test_boxes_around_crowds_are_dashed(self):
        target = row(boxes_at([[(20, 30, 40, 50)]], crowd=[[True]]))
        line = is_color(THINGS.draw(gray(), target, None, COLORS), COLORS["car"])[49, 20:40]
        assert 8 <= line.sum() < 16
        assert (line[:5]).all()
        assert not line[6:8].any()

    def test_captions_never_hide_each_other(self):
        frames = [Frame((20.0, 30.0, 60.0, 50.0), PALETTE[place], "car 0.99") for place in range(5)]
        picture = draw_frames(gray((80, 120)), frames)
        shown = [is_color(picture, color).sum().item() for color in PALETTE[:5]]
        assert all(count > 200 for count in shown[:2])
        assert shown[3:] == [0, 0]

    def test_a_class_has_the_same_color_in_masks_and_boxes(self):
        labels = torch.full(SIZE, 2)
        mask = SCENE.draw(gray(), Labels(labels, torch.ones(SIZE)), None, COLORS)
        boxes = THINGS.draw(gray(), row(boxes_at([[(20, 30, 40, 50)]])), None, COLORS)
        assert mask[:, 30, 30].tolist() == over_gray(COLORS["car"], FILL)
        assert is_color(boxes, COLORS["car"])[30:50, 20].all()


@pytest.mark.parametrize("height", [400, 1600])
def test_lines_and_letters_grow_with_large_pictures(height):
    unit = max(1, round(height / 512))
    picture = draw_frames(gray((height, height)), [Frame((200.0, 200.0, 300.0, 300.0), PALETTE[0], "car")])
    column = np.flatnonzero(is_color(picture, PALETTE[0])[250].numpy())
    assert len(column) == 2 * 2 * unit
