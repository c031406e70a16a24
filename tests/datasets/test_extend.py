"""Extend: each copy draws for itself, nothing is stored, labels and annotations follow their samples."""

import pickle
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from pydantic import ValidationError

from ssmtl.batch import Sample
from ssmtl.component import resolve
from ssmtl.datasets.base import Reader, Traceable
from ssmtl.datasets.cached import CachedTable
from ssmtl.datasets.chest_phantom import ChestPhantom
from ssmtl.datasets.extend import Extend, ExtendedTable
from ssmtl.datasets.shapes_phantom import ShapesPhantom
from ssmtl.errors import DataError

SHAPES = ShapesPhantom(samples=20)


@dataclass
class Ramps:
    """Images whose level is 1 + column + 40 * (row modulo 5), plus the index in channel 0; counts decodings."""

    n: int = 4
    side: tuple[int, int] = (32, 32)
    shown: tuple[int, int] = (32, 32)
    level: int | None = None
    decoded: Counter = field(default_factory=Counter)

    def __len__(self):
        return self.n

    def __getitem__(self, row):
        self.decoded[row] += 1
        ramp = np.add.outer(np.arange(self.side[0]) % 5 * 40, np.arange(self.side[1]) + 1)
        image = np.stack([ramp, ramp]).astype(np.uint8)
        image[0] += np.uint8(row)
        if self.level is not None:
            image[:] = self.level
        image[:, self.shown[0] :], image[:, :, self.shown[1] :] = 0, 0
        return Sample(self.name(row), image, self.shown, self.shown, {"label": row % 3})

    def name(self, row):
        return f"ramp{row}"

    def annotated(self, kind):
        return np.arange(self.n) != 1 if kind == "label" else np.zeros(self.n, bool)

    def labels(self, kind="label"):
        return np.array([0, -1, 2, 0][: self.n], np.int32)

    def patients(self):
        return None


def extended(table=None, **fields):
    return ExtendedTable(Extend(SHAPES, **fields), *[table or Ramps()] * 2)


def changed(table, rows=None):
    """Return where copies differ from their samples, [rows, h, w]."""
    rows = range(len(table)) if rows is None else rows
    base = [table.table[row].image for row in range(len(table.table))]
    return np.stack([(table[row].image != base[row % len(base)]).any(axis=0) for row in rows])


def boxes(masks):
    """Return (top, bottom, left, right) of every mask, which must be a full rectangle."""
    found = []
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        assert mask[box[0] : box[1], box[2] : box[3]].all()
        found.append(box)
    return np.array(found)


def test_row_i_plus_r_times_n_is_copy_r_of_sample_i():
    table = extended(rounds=3, aug="none")
    assert len(table) == 12
    for row in range(12):
        base = table.table[row % 4]
        np.testing.assert_array_equal(table[row].image, base.image)
        assert table[row].annotations == base.annotations
        assert table[row].name == table.name(row) == f"ramp{row % 4}#{row // 4}"
    assert len({table.name(row) for row in range(12)}) == 12
    np.testing.assert_array_equal(table.labels(), [0, -1, 2, 0] * 3)
    assert table.labels().dtype == np.int32
    np.testing.assert_array_equal(table.annotated("label"), [True, False, True, True] * 3)
    for row in (12, -13):
        with pytest.raises(IndexError, match=f"row {row} of 12 copies"):
            table[row]


def test_each_copy_draws_for_itself():
    """RealMix's graph drew once for all records: then either all copies are erased, by one box, or none is."""
    table = extended(Ramps(level=100), rounds=100)
    masks = changed(table)
    touched = masks.any(axis=(1, 2))
    assert 0.2 < touched.mean() < 0.4
    per_round = touched.reshape(100, 4)
    assert (per_round.any(axis=1) & ~per_round.all(axis=1)).mean() > 0.6
    assert len({tuple(box) for box in boxes(masks[touched])}) > 0.9 * touched.sum()
    assert len({table[int(row)].image.min() for row in np.flatnonzero(touched)}) > 20


def test_a_copy_depends_on_seed_index_and_round_alone():
    few, many = extended(rounds=2, aug="simple"), extended(rounds=9, aug="simple")
    backwards = {row: many[row].image for row in reversed(range(8))}
    for row in range(8):
        np.testing.assert_array_equal(few[row].image, backwards[row])
    other = extended(rounds=9, aug="simple", seed=1)
    assert np.mean([np.array_equal(many[row].image, other[row].image) for row in range(36)]) < 0.2


def test_random_erasing_has_the_share_areas_aspects_and_levels_of_its_definition():
    table = extended(Ramps(n=1, level=100), rounds=4000)
    masks = changed(table)
    touched = masks.any(axis=(1, 2))
    # A level of 100 leaves no trace on this image: 1 of 256.
    assert touched.mean() == pytest.approx(0.3, abs=0.025)
    found = boxes(masks[touched])
    high, wide = found[:, 1] - found[:, 0], found[:, 3] - found[:, 2]
    # Sides are rounded down, by up to one pixel each.
    assert (high * wide <= 0.4 * 1024).all()
    assert ((high + 1) * (wide + 1) >= 0.02 * 1024).all()
    assert ((high + 1) / wide >= 0.3).all()
    assert (high / (wide + 1) <= 1 / 0.3).all()
    assert high.max() > 28
    assert (high > wide).mean() > 0.7, "U(.3, 3.33) is above 1 in three of four draws"
    images = [table[int(row)].image for row in np.flatnonzero(touched)]
    fills = [
        {int(level) for level in image[:, mask].ravel()} for image, mask in zip(images, masks[touched], strict=True)
    ]
    assert {len(levels) for levels in fills} == {1}, "one level for all channels"
    levels = np.array([level for (level,) in fills])
    assert levels.min() < 5
    assert levels.max() > 250
    assert levels.mean() == pytest.approx(127.5, abs=8)


def test_random_erasing_draws_again_until_the_box_fits():
    """Boxes cut off by the border would touch it far more often than those that were drawn to fit."""
    found = boxes([mask for mask in changed(extended(Ramps(n=1, level=100), rounds=3000)) if mask.any()])
    at_end = (found[:, 1] == 32) | (found[:, 3] == 32)
    at_start = (found[:, 0] == 0) | (found[:, 2] == 0)
    assert 0.5 < at_end.mean() / at_start.mean() < 2


def test_cutout16_blackens_a_square_of_half_the_side_centered_anywhere():
    masks = changed(extended(Ramps(n=1, level=100), rounds=600, eraser="cutout16"))
    found = boxes(masks)
    high, wide = found[:, 1] - found[:, 0], found[:, 3] - found[:, 2]
    assert high.max() == wide.max() == 16
    assert high.min() == wide.min() == 8
    inside = (found[:, [0, 2]] > 0).all(axis=1) & (found[:, [1, 3]] < 32).all(axis=1)
    assert (high[inside] == 16).all()
    assert (wide[inside] == 16).all()
    # 16 of 32 centers leave the side whole: from 8 to 24, as 24 + 8 = 32.
    assert (high == 16).mean() == pytest.approx(17 / 32, abs=0.08)
    table = extended(Ramps(n=1, level=100), rounds=1, eraser="cutout16")
    assert set(np.unique(table[0].image)) == {0, 100}


def test_simple_flips_half_and_shifts_by_up_to_4_with_reflected_borders():
    table = extended(Ramps(n=1), rounds=800, aug="simple")
    base = table.table[0].image[1].astype(int)
    padded = np.pad(base, 4, mode="reflect")
    flipped = np.pad(base[:, ::-1], 4, mode="reflect")
    windows = {
        source[top : top + 32, left : left + 32].astype(np.uint8).tobytes(): (kind, top % 5, left)
        for kind, source in (("kept", padded), ("flipped", flipped))
        for top in range(9)
        for left in range(9)
    }
    found = Counter(windows[table[row].image[1].tobytes()] for row in range(800))
    assert sum(count for (kind, _, _), count in found.items() if kind == "flipped") == pytest.approx(400, abs=60)
    assert {left for _, _, left in found} == set(range(9))
    tops = Counter(top for _, top, _ in found.elements())
    assert set(tops) == set(range(5)), "rows repeat after 5 here, so that 9 shifts show as 5"
    assert max(tops.values()) < 2.6 * min(tops.values())


@pytest.mark.parametrize("fields", [{"aug": "simple"}, {"eraser": "cutout16"}, {"eraser": "random_erasing"}])
def test_padding_stays_empty_and_the_image_stays_inside(fields):
    table = extended(Ramps(n=2, shown=(32, 20), level=100), rounds=40, **fields)
    for row in range(80):
        assert not table[row].image[:, :, 20:].any()
        assert table[row].size == (32, 20)
    plain = extended(Ramps(n=2, shown=(32, 20), level=100), rounds=40, aug="simple")
    assert all((plain[row].image[:, :, :20] == 100).all() for row in range(80)), "no padding shifted in"


def test_writing_into_a_copy_changes_no_other():
    class Held(Ramps):
        def __getitem__(self, row):
            return kept[row]

    kept = [Ramps()[row] for row in range(4)]
    before = [sample.image.copy() for sample in kept]
    for fields in ({"aug": "none"}, {"eraser": "cutout16"}, {"aug": "simple"}):
        table = extended(Held(), rounds=2, **fields)
        for row in range(8):
            table[row].image[:] = 7
    for sample, image in zip(kept, before, strict=True):
        np.testing.assert_array_equal(sample.image, image)


def test_samples_are_decoded_once_however_many_copies_are_asked_for(monkeypatch):
    ramps = Ramps()
    monkeypatch.setattr(ShapesPhantom, "open", lambda reader: ramps)
    table = Extend(SHAPES, rounds=5).open()
    assert not ramps.decoded, "opening decodes nothing"
    for row in range(20):
        table[row]
    assert ramps.decoded == {0: 1, 1: 1, 2: 1, 3: 1}
    assert table.in_memory is True
    assert isinstance(table.samples, CachedTable)


def test_a_table_in_memory_is_not_remembered_twice(monkeypatch):
    class Held(Ramps):
        in_memory = True

    monkeypatch.setattr(ShapesPhantom, "open", lambda reader: Held())
    table = Extend(SHAPES, rounds=5).open()
    assert table.samples is table.table


def test_realmix_pool_costs_columns_only(monkeypatch):
    monkeypatch.setattr("ssmtl.datasets.shapes_phantom.draw", None)
    table = Extend(SHAPES.replace(samples=49_750)).open()
    assert len(table) == 2_487_500
    assert table.labels().nbytes < 10_000_000
    assert table.labels().dtype == np.int32
    assert table.annotated("label").all()
    assert table.name(2_487_499) == "train/0-00049749#49"


def test_copies_of_one_sample_belong_together():
    assert extended(rounds=2).patients() == ("ramp0", "ramp1", "ramp2", "ramp3") * 2
    chest = Extend(ChestPhantom(samples=3, canvas=(16, 16)), rounds=2).open()
    assert chest.patients() == chest.table.patients() * 2


def test_made_of_tells_copies_and_settings_apart():
    tables = [extended(rounds=2), extended(rounds=2, seed=1), extended(rounds=2, eraser="cutout16")]
    tables.append(extended(rounds=2, aug="none"))
    assert all(isinstance(table, Traceable) for table in tables)
    made = [table.made_of(row, "label") for table in tables for row in (0, 1, 4)]
    assert len(set(made)) == 12
    assert made[0] == extended(rounds=50).made_of(0, "label"), "more rounds leave the first copies as they are"
    shapes = Extend(SHAPES, rounds=2).open()
    assert shapes.made_of(21, "label")[0] == b"train/0-00000001"


def test_masks_stay_in_place_and_simple_is_refused_for_them():
    chest = ChestPhantom(samples=2, canvas=(32, 32))
    table = Extend(chest, rounds=2, eraser="cutout16").open()
    np.testing.assert_array_equal(table[3].annotations["mask"], chest.open()[1].annotations["mask"])
    with pytest.raises(
        ValidationError, match="flip and shift images away from their mask, which ChestPhantom annotates"
    ):
        Extend(chest, aug="simple")


def test_canvas_and_channels_are_those_of_the_inner_reader_also_after_json():
    gray = Extend(SHAPES.replace(canvas=(16, 24), channels=1), rounds=2, seed=3)
    assert (gray.canvas, gray.channels) == ((16, 24), 1)
    assert gray.open()[0].image.shape == (1, 16, 24)
    assert Reader.model_validate_json(gray.model_dump_json()) == gray
    assert gray.replace(rounds=4).canvas == (16, 24)
    with pytest.raises(ValidationError, match=r"canvas is \(32, 32\), got canvas=\(64, 64\)"):
        Extend(SHAPES, canvas=(64, 64))
    assert resolve("readers", "Extend") is Extend
    assert gray.classes("label") == SHAPES.classes("label")


def test_a_table_survives_pickling():
    table = Extend(SHAPES, rounds=2).open()
    again = pickle.loads(pickle.dumps(table))
    for row in (0, 25):
        np.testing.assert_array_equal(again[row].image, table[row].image)


def test_an_image_too_narrow_for_any_rectangle_is_refused():
    narrow = extended(Ramps(n=1, side=(1, 4000), shown=(1, 4000)), rounds=20)
    with pytest.raises(DataError, match=r"an image of 1 x 4000 pixels is too narrow for a rectangle of 2% of its area"):
        [narrow[row] for row in range(20)]


@pytest.mark.parametrize("bad", [{"rounds": 0}, {"aug": "strong"}, {"eraser": "cutout"}, {"seed": -1}])
def test_bad_fields_are_refused_where_they_are(bad):
    with pytest.raises(ValidationError) as error:
        Extend(SHAPES, **bad)
    assert error.value.errors()[0]["loc"][0] == next(iter(bad))


def test_what_must_not_be_mirrored_is_only_shifted():
    def rising(flip):
        table = extended(rounds=10, aug="simple", flip=flip)
        return [int(table[row].image[1, 16, 26]) > int(table[row].image[1, 16, 6]) for row in range(len(table))]

    assert all(rising(flip=False))
    assert 0 < sum(rising(flip=True)) < 40
