"""Predicting in tiles: the weights, what is put together, and what it costs to leave the image's borders."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import ssmtl.evaluate
from ssmtl.datasets.chest_phantom import ChestPhantom
from ssmtl.errors import RecipeError
from ssmtl.evaluate import SplitLoader, evaluate, predict
from ssmtl.models.base import Encoder, EncoderModule, Head
from ssmtl.models.heads import LinearHead
from ssmtl.models.multimix_unet import MultiMixDecoder, MultiMixEncoder
from ssmtl.models.multitask import Model
from ssmtl.objective import Objective
from ssmtl.recipe import Recipe, Source, Split
from ssmtl.strategies.supervised import Supervised
from ssmtl.task import FeatureSpec
from ssmtl.tiling import in_tiles
from ssmtl_tasks.classification import Classification
from ssmtl_tasks.segmentation import Segmentation

CPU = torch.device("cpu")
sides = st.integers(1, 40)


class PixelEncoder(Encoder):
    """Features of a pixel and its neighbors at a distance of up to `reach`, zeros beyond the image."""

    reach: int = 0
    stride: int = 1

    def build(self, channels: int, *, pretrained: bool = True) -> EncoderModule:
        return Pixels(channels, self.reach, self.stride)


class Pixels(EncoderModule):
    def __init__(self, channels: int, reach: int, stride: int) -> None:
        super().__init__()
        self.spec = FeatureSpec((4,), (stride,))
        self.conv = nn.Conv2d(channels, 4, 2 * reach + 1, stride=stride, padding=reach)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [self.conv(images)]


class PixelHead(Head):
    """A 1x1 convolution, each cell repeated to the image's size."""

    def build(self, features: FeatureSpec, outputs: int) -> nn.Module:
        return Logits(features.channels[0], outputs)


class Logits(nn.Module):
    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, outputs, 1)

    def forward(self, features, size, extra) -> torch.Tensor:
        return nn.functional.interpolate(self.conv(features[0]), size)


LUNGS = Segmentation("lungs", classes=("background", "lung", "heart"), head=PixelHead())


def model(task=LUNGS, **fields):
    torch.manual_seed(0)
    return Model(PixelEncoder(**fields)).build([task]).eval()


def images(height, width, n=2):
    return torch.randint(0, 256, (n, 1, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def weights(length, tile, overlap, stride=1):
    """Return each tile's weights over a line of `length` pixels, from what is put together of one-hot tiles."""
    calls = []

    def run(part):
        logits = torch.zeros(1, 64, 1, part.shape[-1])
        logits[:, len(calls)] = 1
        calls.append(part)
        return {"t": logits}

    out = in_tiles(run, torch.zeros(1, 1, 1, length), (1, tile), overlap=overlap, stride=stride)["t"]
    return out[0, : len(calls), 0]


def test_logits_go_over_linearly_in_the_overlap():
    # tiles of 8 that share 4 start at 0 and 4: at the centers of the four shared pixels 1/8, 3/8, 5/8, 7/8
    found = weights(12, 8, 0.5)
    ramp = torch.tensor([1 / 8, 3 / 8, 5 / 8, 7 / 8])
    torch.testing.assert_close(found[1], torch.cat([torch.zeros(4), ramp, torch.ones(4)]))
    torch.testing.assert_close(found[0], found[1].flip(0))


def test_tiles_without_overlap_are_laid_side_by_side():
    found = weights(12, 4, 0.0)
    assert found.tolist() == [[float(k * 4 <= x < k * 4 + 4) for x in range(12)] for k in range(3)]


def test_the_last_tile_ends_with_the_image_and_the_others_start_at_multiples_of_the_stride():
    starts = [int(row.nonzero()[0]) for row in weights(50, 20, 0.25, stride=8)]
    # steps of 15 become 8; of a tile that starts at k, the weight begins at its neighbor's center k - 8 + 10
    assert starts == [0, 10, 18, 26, 34]
    assert [int(row.nonzero()[0]) for row in weights(32, 16, 0.0, stride=8)] == [0, 16]


@settings(deadline=None, max_examples=200)
@given(
    length=sides, tile=sides, overlap=st.sampled_from([0.0, 0.2, 0.25, 0.5, 0.7]), stride=st.sampled_from([1, 4, 16])
)
def test_weights_are_shares_of_exactly_one(length, tile, overlap, stride):
    found = weights(length, tile, overlap, stride)
    assert (found >= 0).all()
    assert (found.sum(dim=0) == 1).all()
    assert ((found > 0).sum(dim=0) <= 2).all()
    assert found.shape[1] == length


@settings(deadline=None, max_examples=25)
@given(height=sides, width=sides, tile=st.tuples(sides, sides))
def test_a_network_without_context_predicts_the_same_in_tiles(height, width, tile):
    net, batch = model(), images(height, width)
    with torch.no_grad():
        whole, tiled = predict(net, batch, ("lungs",)), predict(net, batch, ("lungs",), tile)
    torch.testing.assert_close(tiled["lungs"], whole["lungs"], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("stride", [1, 4])
def test_only_pixels_near_a_tiles_border_may_differ(stride):
    # with a reach of 3, tiles of 32 that share 8 are wrong at their 3 outermost cells only
    net, batch = model(reach=3, stride=stride), images(56, 32)
    with torch.no_grad():
        whole = predict(net, batch, ("lungs",))["lungs"]
        tiled = predict(net, batch, ("lungs",), (32, 32))["lungs"]
    wrong = (tiled - whole).abs().amax(dim=(0, 1, 3)) > 1e-5
    assert wrong.any()
    assert not wrong[:24].any()
    assert not wrong[32:].any()


def test_tiles_cover_the_whole_image_with_the_tiles_own_size():
    seen = []

    def run(part):
        seen.append(tuple(part.shape))
        return {"t": part.float()}

    batch = images(40, 70, n=3)
    assert torch.equal(in_tiles(run, batch, (64, 32))["t"].round().byte(), batch)
    assert seen == [(3, 1, 40, 32)] * 3  # starts 0, 24 and 38


def study(*tasks, canvas=(64, 64)):
    films = ChestPhantom(samples=6, canvas=canvas)
    names = tuple(task.name for task in tasks)
    return Recipe(
        name="tiles",
        objectives=tuple(Objective(task, Supervised()) for task in tasks),
        sources=(Source("films", films, serves=names),),
        test=(Split("test", films.replace(split="val"), tasks=names),),
        model=Model(MultiMixEncoder(channels=(4, 4, 4))),
    )


def test_evaluation_in_tiles_scores_what_one_pass_scores():
    task = Segmentation("lungs", classes=("lung",), head=PixelHead())
    recipe = study(task)
    data = SplitLoader(recipe, recipe.test[0])
    net = model(task)
    whole, data.split = evaluate(net, data, CPU), data.split.replace(tile=(48, 32))
    tiled = evaluate(net, data, CPU)
    assert tiled == pytest.approx(whole, nan_ok=True, abs=1e-6)
    assert not math.isnan(whole["lungs/soft_dice"])


def test_large_images_are_scored_a_few_at_a_time(monkeypatch):
    recipe = study(LUNGS.replace(classes=("lung",), head=MultiMixDecoder()))
    monkeypatch.setattr(ssmtl.evaluate, "PIXELS", 2 * 64 * 64)
    assert [len(batch.names) for batch in SplitLoader(recipe, recipe.test[0])] == [2, 2, 2]
    monkeypatch.setattr(ssmtl.evaluate, "PIXELS", 1)
    assert [len(batch.names) for batch in SplitLoader(recipe, recipe.test[0])] == [1] * 6


def test_what_is_no_map_of_logits_is_refused():
    task = Classification("diagnosis", classes=("normal", "pneumonia"), head=LinearHead())
    recipe = study(task)
    net = recipe.model.build([task])
    with pytest.raises(RecipeError, match="'diagnosis' can't be predicted in tiles: only logits of pixels"):
        evaluate(net, SplitLoader(recipe, recipe.test[0].replace(tile=(32, 32))), CPU)
    assert net.training


@pytest.mark.parametrize(("tile", "overlap", "message"), [((0, 8), 0.25, r"of \(0, 8\) pixels"), ((8, 8), 1.0, "1.0")])
def test_tiles_that_are_none_are_refused(tile, overlap, message):
    with pytest.raises(RecipeError, match=message):
        in_tiles(lambda part: {}, images(8, 8), tile, overlap=overlap)


@pytest.mark.parametrize(("tile", "advice"), [(None, r"predict tiles, such as tile=\(32, 48\)"), ((32, 32), "smaller")])
def test_too_little_memory_is_a_sentence_that_proposes_tiles(tile, advice, monkeypatch):
    net = model()

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    monkeypatch.setattr(net.encoder, "forward", full)
    with pytest.raises(RecipeError, match=f"cpu has too little memory to predict 2 image.*{advice}"):
        predict(net, images(64, 96), ("lungs",), tile)
