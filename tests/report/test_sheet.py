"""What the contact sheet shows is what training sees, and where annotations really go."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import recipe as tiny

from ssmtl import (
    Explicit,
    FixMatch,
    LabelBudget,
    Model,
    Objective,
    Recipe,
    SmpUnetDecoder,
    Source,
    Supervised,
    TimmEncoder,
    Views,
)
from ssmtl.batch import Sample
from ssmtl.blocks import Key, beside, flow, font, legend, stack, text, wrap
from ssmtl.datasets.base import Reader
from ssmtl.datasets.street_phantom import StreetPhantom, StreetTable
from ssmtl.loader import open_sources, training_loader
from ssmtl.palette import class_colors
from ssmtl.report import seen as seen_module
from ssmtl.report.marks import FATES, counted, marked, plain, scale_of
from ssmtl.report.seen import COUNTS, CUTOUT, EMPTY, UNSEEN, VOID, Marks, look, move_marks
from ssmtl.report.sheet import _captions, _cells, _keys, draw_sheet
from ssmtl.task import BoxList
from ssmtl.train_step import TrainStep
from ssmtl.views.erasing import Cutout
from ssmtl.views.framing import ScaleCrop
from ssmtl.views.geometry import STRONG, WEAK, Geometry
from ssmtl.views.policy import Policy
from ssmtl.views.warps import HorizontalFlip, TranslateX
from ssmtl_tasks import Segmentation

FLIP = HorizontalFlip(p=1.0)
RIGHT = torch.tensor([[[1.0, 0, 4], [0, 1, 0], [0, 0, 1]]], dtype=torch.float64)
STILL = torch.eye(3, dtype=torch.float64)[None]


def street(weak, strong, canvas=(32, 48), **fields):
    scenes = StreetPhantom(canvas=canvas, samples=12)
    task = Segmentation("scene", classes=scenes.classes("mask"), head=SmpUnetDecoder())
    return Recipe(
        name="street",
        objectives=(Objective(task, FixMatch()),),
        sources=(Source("scenes", scenes, serves=("scene",)),),
        budget=LabelBudget(counts=(("scene", 6),)),
        streams=Explicit(labeled=2, unlabeled=2),
        model=Model(TimmEncoder("resnet18"), channels=3),
        views=Views(weak=weak, strong=strong),
        **fields,
    )


def first(recipe, step=0):
    return look(open_sources(recipe), step, 1)[0][0]


class TestWhatIsShown:
    @pytest.mark.parametrize(("step", "accumulate"), [(0, 1), (3, 1), (2, 2)])
    def test_views_are_those_of_the_training_step(self, step, accumulate):
        """Every picture equals the row that TrainStep renders for the same image in the same step."""
        recipe = tiny(accumulate=accumulate)
        sources = open_sources(recipe)
        shown, size = look(sources, step, 20)
        first_of_step = step * accumulate
        (batch,) = training_loader(
            sources, start=first_of_step, stop=first_of_step + 1, rank=0, world=1, workers=0, pin=False
        )
        assert len(shown) == size == len(batch)
        program = TrainStep(recipe)
        everything = torch.arange(len(batch))
        pictures = {view: program._render(batch, view, everything, step, 0) for view in (WEAK, STRONG)}
        for seen in shown:
            (row,) = [row for row, name in enumerate(batch.names) if name == seen.sample.name]
            for view, picture in ((WEAK, seen.weak), (STRONG, seen.strong)):
                if picture is not None:
                    rendered = pictures[view]
                    expected = rendered.pixels.image[rendered.slot[row]]
                    assert torch.equal(picture, (expected * 255).round().to(torch.uint8))

    @pytest.mark.parametrize("budget", [None, LabelBudget()], ids=["few labels", "all labels, lent without"])
    def test_strong_views_are_shown_where_a_strategy_reads_them(self, budget):
        """FixMatch reads those of unlabeled films, PredictionMatching none."""
        recipe = tiny() if budget is None else tiny().replace(budget=budget)
        shown, _ = look(open_sources(recipe), 0, 20)
        assert {(seen.source.name, seen.labeled): seen.strong is not None for seen in shown} == {
            ("films", True): False,
            ("films", False): True,
            ("lung films", True): False,
            ("lung films", False): False,
        }

    def test_sources_take_turns_and_strong_views_come_first(self):
        shown, size = look(open_sources(tiny()), 0, 3)
        assert size == 8
        assert [seen.source.name for seen in shown] == ["films", "films", "lung films"]
        assert all(seen.strong is not None for seen in shown[:2])

    def test_annotated_images_come_before_others(self, monkeypatch):
        sources = open_sources(street(Policy(), Policy()))
        refs = seen_module.StepSampler(sources.groups(), 0, 0, 1).batch(0)
        annotated = np.zeros(12, dtype=bool)
        annotated[refs[3].row] = True
        sources = replace(sources, annotated={"scene": annotated})
        assert seen_module._choose(sources, refs, {2, 3}, 1) == [3]


class TestWhereAnnotationsGo:
    def test_a_flip_moves_masks_and_boxes_and_says_so(self):
        seen = first(street(Policy(always=(FLIP,)), Policy(always=(FLIP,))))
        assert np.array_equal(seen.moved.mask, seen.given.mask[:, ::-1])
        kept = (np.diff(seen.given.boxes.xyxy[:, ::2]) >= 2).all(1) & (
            np.diff(seen.given.boxes.xyxy[:, 1::2]) >= 2
        ).all(1)
        expected = seen.given.boxes.xyxy[kept][:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [48, 0, 48, 0]
        assert np.array_equal(seen.moved.boxes.xyxy, expected.astype(np.float32))
        assert seen.drawn == {"weak": "HorizontalFlip", "strong": "HorizontalFlip"}
        assert (seen.fate == COUNTS).all()

    def test_what_the_weak_view_does_not_show_does_not_count(self):
        """The weak view shows the left half only; the strong view all, shifted by nothing."""
        strong = Geometry(STILL, (8, 12), valid=torch.ones(1, 8, 12, dtype=torch.bool))
        weak = Geometry(RIGHT, (8, 12), valid=(torch.arange(12) >= 4).expand(1, 8, 12))
        mask = np.tile(np.arange(12, dtype=np.uint8), (8, 1))
        moved = move_marks(Marks(mask=mask, label=3), _sample(mask), weak, strong)
        assert moved.mask[0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 255, 255, 255, 255]
        assert moved.label == 3

    def test_padding_of_the_canvas_stays_ignored(self):
        mask = np.zeros((8, 12), np.uint8)
        still = Geometry(STILL, (8, 12))
        moved = move_marks(Marks(mask=mask), _sample(mask, size=(8, 9)), still, None)
        assert moved.mask[0].tolist() == [0] * 9 + [255] * 3

    def test_boxes_cut_by_the_weak_view_are_told_apart(self):
        """Shifted right by 4 of 12, the second box loses its right half at the weak view's border."""
        boxes = BoxList(
            np.array([[1, 1, 5, 6], [6, 1, 10, 6], [9, 2, 12, 7]], np.float32), np.arange(3), np.zeros(3, bool)
        )
        size = torch.tensor([[8, 12]])
        weak = Geometry(RIGHT, (8, 12), torch.ones(1, 8, 12, dtype=torch.bool), source_size=size)
        strong = Geometry(STILL, (8, 12), torch.ones(1, 8, 12, dtype=torch.bool), source_size=size)
        moved = move_marks(Marks(boxes=boxes), _sample(np.zeros((8, 12), np.uint8)), weak, strong)
        assert moved.boxes.labels.tolist() == [0]
        assert moved.boxes.xyxy.tolist() == [[1, 1, 5, 6]]
        assert moved.cut.labels.tolist() == [1]
        assert moved.cut.xyxy.tolist() == [[6, 1, 8, 6]]

    def test_every_pixel_has_the_fate_that_its_column_must_have(self):
        """The weak view is shifted by a quarter of 48 pixels, the strong one by half; a quarter of it is blanked."""
        strong = Policy(always=(TranslateX(0.5, 0.5), Cutout((0.25, 0.25))))
        seen = first(street(Policy(always=(TranslateX(0.25, 0.25),)), strong))
        into_weak = 12 if seen.drawn["weak"] == "TranslateX +25 %" else -12
        into_strong = 24 if seen.drawn["strong"].startswith("TranslateX +50 %") else -24
        column = np.arange(48) - into_strong
        shown = (column + into_weak >= 0) & (column + into_weak < 48)
        expected = np.where((column < 0) | (column >= 48), EMPTY, np.where(shown, COUNTS, UNSEEN))
        blank = seen.fate == CUTOUT
        assert np.array_equal(np.where(blank, CUTOUT, expected), seen.fate)
        assert {EMPTY, COUNTS, UNSEEN, CUTOUT} - set(np.unique(seen.fate)) <= {UNSEEN}
        assert blank.sum() == pytest.approx(32 * 48 / 4, rel=0.05)
        assert (seen.strong[:, blank] == 128).all()
        assert (seen.moved.mask[seen.fate != COUNTS] == 255).all()

    def test_what_a_mask_ignores_does_not_count_where_the_mask_teaches(self, monkeypatch):
        """Nobody knows what the teacher predicts there, but a labeled pixel of class 255 is in no loss."""
        table = StreetTable.__getitem__

        def with_void(self, row):
            sample = table(self, row)
            sample.annotations["mask"][:, :5] = 255
            return sample

        monkeypatch.setattr(StreetTable, "__getitem__", with_void)
        sources = open_sources(street(Policy(), Policy()))
        for seen in look(sources, 0, 4)[0]:
            assert (seen.moved.mask[:, :5] == 255).all()
            assert (seen.fate[:, :5] == (VOID if seen.strong is None else COUNTS)).all()

    def test_without_strong_views_labels_are_in_the_weak_one(self):
        recipe = tiny(matching=False)
        objectives = (recipe.objectives[1].replace(task=recipe.objectives[1].task),)
        recipe = recipe.replace(
            objectives=objectives,
            sources=recipe.sources[1:],
            budget=LabelBudget(counts=(("lungs", 4),)),
            model=recipe.model.replace(bridge=None),
            validation=(),
            test=(),
        )
        seen = first(recipe)
        assert seen.strong is None
        assert list(seen.drawn) == ["weak"]
        known = seen.moved.mask != 255
        assert np.array_equal(known, seen.fate == COUNTS)


def _sample(mask, size=None):
    image = np.zeros((1, *mask.shape), np.uint8)
    return Sample("a", image, size or mask.shape, mask.shape)


class TestTheSheet:
    @pytest.fixture
    def said(self, monkeypatch):
        """Every text that is written on sheets, outside of pictures."""
        found = []

        def listen(words, *given, **style):
            found.append(words)
            return text(words, *given, **style)

        monkeypatch.setattr("ssmtl.report.sheet.text", listen)
        return found

    @pytest.mark.parametrize("canvas", [(32, 32), (64, 256), (256, 32), (400, 352)])
    def test_shapes_of_canvases(self, canvas):
        sheet = draw_sheet(street(Policy(), Policy(), canvas=canvas), rows=2)
        cell_height, cell_width = (round(scale_of(canvas) * side) for side in canvas)
        assert max(cell_height, cell_width) <= 320
        assert sheet.width >= max(800, 5 * max(150, cell_width))
        assert sheet.height >= 2 * cell_height

    def test_rows_are_as_many_as_asked_for_or_there_are(self):
        recipe = street(Policy(), Policy())
        heights = [draw_sheet(recipe, rows=rows).height for rows in (1, 2, 4, 100)]
        assert heights[0] < heights[1] < heights[2] == heights[3]

    def test_views_of_another_size_than_the_canvas(self):
        crop = ScaleCrop((16, 16))
        sheet = draw_sheet(street(Policy(always=(crop,)), Policy(always=(crop,))), rows=1)
        assert sheet.height > 320

    def test_images_with_a_label_only_have_nothing_to_count(self, said):
        seen = first(street(Policy(), Policy()))
        labeled = Marks(label=1)
        source = seen.source.replace(reader=_Named(label=("cat", "dog")))
        seen = replace(seen, source=source, given=labeled, moved=labeled, dense=False)
        assert _keys([seen], {}) == []
        assert len(_cells(seen, {}, with_strong=True)) == 5
        assert said == ["no pixels to count: a label is the whole image's"]

    @pytest.mark.parametrize("with_strong", [True, False])
    def test_hidden_classes_stand_over_the_source_only(self, monkeypatch, said, with_strong):
        """Regions and boxes are moved all the same: they show where a teacher's would land."""
        corners, seen = [], first(street(Policy(), Policy()))
        monkeypatch.setattr("ssmtl.report.marks.corner", lambda picture, words: corners.append(words) or picture)
        reader = _Named(label=("cat", "dog"), mask=seen.source.reader.classes("mask"))
        marks = replace(seen.given, label=1, boxes=None, cut=None)
        colors = class_colors(reader.mask)
        cells = {}
        for labeled in (True, False):
            corners.clear()
            shown = replace(seen, source=seen.source.replace(reader=reader), given=marks, moved=marks, labeled=labeled)
            cells[labeled] = _cells(shown, colors, with_strong=with_strong)
            assert [words for words in corners if "%" not in words] == ["dog"] * (2 if labeled else 1)
            _captions(shown, 800)
        moved = [np.asarray(cells[labeled][-2]) for labeled in (True, False)]
        assert np.array_equal(*moved)
        assert (moved[0] != np.asarray(plain(seen.weak))).any()
        lines = [line for line in said if "visible" in line]
        assert lines[0].endswith(", labels visible in training")
        assert lines[1].endswith(", no label visible in training, so its class stands over the source only")

    def test_a_step_after_the_last_is_named(self, monkeypatch):
        said = []
        monkeypatch.setattr(
            "ssmtl.report.sheet.text", lambda words, *a, **k: said.append(words) or text(words, *a, **k)
        )
        draw_sheet(street(Policy(), Policy(), steps=5), step=5, rows=1)
        assert "1 of the 4 images of step 5 (training ends after 5), seed 0, drawn as training draws them." in said
        assert "weak views: nothing." in said

    def test_without_strong_views_it_says_so(self, monkeypatch):
        said = []
        monkeypatch.setattr(
            "ssmtl.report.sheet.text", lambda words, *a, **k: said.append(words) or text(words, *a, **k)
        )
        recipe = street(Policy(), Policy())

        draw_sheet(recipe.replace(objectives=(recipe.objectives[0].replace(strategy=Supervised()),)), rows=1)
        assert "No strategy of this recipe reads a strong view, so there is none." in said
        assert "strong" not in said
        assert "labels, moved into weak" in said


class TestPictures:
    def test_small_images_are_enlarged_by_whole_pixels(self):
        image = torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8)
        pixels = np.asarray(plain(image))
        assert pixels.shape == (200, 300, 3)
        assert np.array_equal(pixels[::10, ::10], image.permute(1, 2, 0).numpy())
        assert np.array_equal(pixels[9::10, 9::10], image.permute(1, 2, 0).numpy())

    def test_large_images_are_averaged(self):
        image = torch.zeros(1, 640, 320, dtype=torch.uint8)
        image[:, ::2] = 200
        assert np.asarray(plain(image)).shape == (320, 160, 3)
        assert (np.asarray(plain(image)) == 100).all()

    def test_regions_are_tinted_background_is_not_and_ignored_is_gray(self):
        reader = _Named(mask=("background", "lung"))
        mask = np.zeros((32, 32), np.uint8)
        mask[8:16, 8:16], mask[24:] = 1, 255
        pixels = np.asarray(
            marked(torch.zeros(1, 32, 32, dtype=torch.uint8), Marks(mask=mask), reader, class_colors(reader.mask))
        )
        tone = np.array(class_colors(reader.mask)["lung"])
        assert (pixels[0, 0] == 0).all()
        assert np.abs(pixels[120, 120] - 0.4 * tone).max() <= 1
        assert (pixels[80, 80] == tone).all(), "the outline"
        assert pixels[300, 300].tolist() == [85, 85, 85]

    def test_boxes_lie_on_the_outermost_pixels_of_what_is_inside(self):
        reader = _Named(boxes=("car",))
        boxes = BoxList(np.array([[8, 4, 16, 12]], np.float32), np.zeros(1, np.int64), np.zeros(1, bool))
        colors = class_colors(reader.boxes)
        pixels = np.asarray(marked(torch.zeros(1, 32, 32, dtype=torch.uint8), Marks(boxes=boxes), reader, colors))
        rows, columns = np.nonzero((pixels == colors["car"]).all(-1))
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (80, 40, 160, 120)

    def test_the_share_that_counts_is_written_and_colored(self, monkeypatch):
        said = []
        monkeypatch.setattr("ssmtl.report.marks.corner", lambda picture, words: said.append(words) or picture)
        fate = np.full((10, 10), COUNTS, np.uint8)
        fate[:, 5:] = UNSEEN
        pixels = np.asarray(counted(torch.zeros(3, 10, 10, dtype=torch.uint8), fate))
        assert said == ["50 % counts"]
        red, green, blue = pixels[100, 40].astype(int)
        assert green > 1.5 * max(red, blue)
        assert len(set(pixels[100, 300].tolist())) == 1
        assert set(FATES) == {COUNTS, VOID, CUTOUT, EMPTY, UNSEEN}


class _Named(Reader):
    """A reader of which only the class names are asked for."""

    mask: tuple[str, ...] = ()
    boxes: tuple[str, ...] = ()
    label: tuple[str, ...] = ()

    def classes(self, kind):
        return getattr(self, kind, ())

    def open(self):
        raise NotImplementedError


class TestBlocks:
    def test_lines_fit_and_nothing_is_lost(self):
        words = "weak: HorizontalFlip, ScaleCrop 1.31x at (12, -30) px, " + "W" * 80
        lines = wrap(words, 200, font(13))
        assert all(font(13).getlength(line) <= 200 for line in lines)
        assert "".join(lines).replace(" ", "") == words.replace(" ", "")

    def test_an_argument_list_is_not_torn_apart(self):
        words = "Posterize(1, 8), Saturation(0.1, 1.9), Rotate(0, 30)"
        lines = wrap(words, round(font(13).getlength("Posterize(1, 8), Saturation(0.1,")) + 1, font(13))
        assert lines == ["Posterize(1, 8),", "Saturation(0.1, 1.9),", "Rotate(0, 30)"]

    def test_blocks_never_overlap(self):
        parts = [text("a b c", 90), text("long " * 30, 120, size=21, bold=True)]
        assert stack(parts, 5).height == parts[0].height + parts[1].height + 5
        assert beside([(part, part.width) for part in parts], 7).width == 90 + 120 + 7
        assert flow(parts, 150).height == parts[0].height + parts[1].height + 4
        assert flow(parts, 500).height == max(part.height for part in parts)

    def test_a_long_legend_wraps(self):
        keys = [Key(f"class number {i}", (9 * i, 0, 0)) for i in range(20)]
        assert legend(keys, 400).width <= 400
        assert legend(keys, 400).height > 3 * legend(keys[:1], 400).height
