"""docs/troubleshooting.md quotes what ssmtl really says: each quoted sentence is provoked here."""

import re
from pathlib import Path

import pytest
import torch
from documented import blocks
from in_process import call, refused
from kinds import study
from own_folder import picture, write
from pydantic import ValidationError

from ssmtl import SGD, MixMatch, Objective, PerSource, Policy, Source, Views
from ssmtl.component import mistakes
from ssmtl.datasets.street_phantom import StreetPhantom
from ssmtl.engine import Options, train
from ssmtl.errors import SsmtlError
from ssmtl.predict_batches import BatchSize, Loaded, predicted
from ssmtl.prediction_log import Entry
from ssmtl.runs import RunFolder
from ssmtl.strategies.supervised import Supervised
from ssmtl_tasks import Segmentation

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "troubleshooting.md").read_text()
QUOTED = [" ".join(block.text.split()) for block in blocks(PAGE) if block.kind == "text"]


def said(make):
    """Return the sentence that the command line would print, between "Recipe: " and the recipe's file."""
    with pytest.raises((SsmtlError, ValidationError)) as caught:
        make()
    error = caught.value
    return mistakes(error).removeprefix("Recipe: ") if isinstance(error, ValidationError) else str(error)


def run(folder, **options):
    def training(recipe):
        place = RunFolder.create(folder / "run", recipe, "troubleshooting.md")
        return train(recipe, place, Options(accelerator="cpu", workers=0, quiet=True, **options))

    return training


def own(folder, *, twice=False, split="train"):
    """Write a manifest of four images, the last of which may be the first one again, in another split."""
    for number in range(4):
        picture(folder / f"{number}.png", seed=0 if twice and number == 3 else number)
    rows = [f"{n}.png,{'ab'[n % 2]},{'test' if n == 3 else split}" for n in range(4)]
    return write(folder / "manifest.csv", "\n".join(["image,label,split", *rows]))


def not_a_number(folder):
    return said(lambda: run(folder)(study(Supervised(), optimizer=SGD(lr=1e30), test=())))


def too_much_memory(folder):
    def model(pixels, rows):
        raise torch.OutOfMemoryError("too many")

    pixels = torch.zeros(1, 8, 8, dtype=torch.uint8).numpy()
    images = [Loaded(Entry(None, "a"), None, pixels, (8, 8))] * 6
    return said(lambda: list(predicted(model, images, ("t",), BatchSize(6, gpu=True), torch.device("cpu"))))


def no_such_devices(folder):
    if torch.cuda.is_available():
        pytest.skip("this machine has what is asked for")
    options = Options(accelerator="cuda", workers=0, quiet=True)
    place = RunFolder.create(folder / "run", study(Supervised(), test=()), "troubleshooting.md")
    return said(lambda: train(study(Supervised(), test=()), place, options))


def uneven_batch(folder):
    return said(lambda: run(folder, devices=4)(study(Supervised(), test=())))


def not_checked(folder):
    return refused("run", "custom", "--data", own(folder))


def changed_since(folder):
    path = own(folder)
    assert call("data", "check", path).code == 0
    path.write_text(path.read_text().replace("1.png,b", "1.png,a"))
    return refused("run", "custom", "--data", path)


def nothing_to_train_on(folder):
    path = own(folder, split="val")
    assert call("data", "check", path).code == 0
    return refused("run", "custom", "--data", path)


def leak(folder):
    """The two images are of two manifests, so that neither check sees both."""
    for name in ("one", "two"):
        path = own(folder / name)
        assert call("data", "split", path, "--val", "0", "--test", "0.25").code == 0
    return refused("run", leaking(folder))


def leaking(folder):
    text = f'''
from ssmtl import *
from ssmtl_tasks import Classification

def recipe(*, data=None, seed=0):
    """Train on all images of one manifest, test on those of another."""
    kind = Classification("kind", classes=("a", "b"), head=LinearHead())
    train, test = (Manifest.of(f"{folder}/{{name}}/manifest.csv", split=split, canvas=(16, 16))
                   for name, split in (("one", "all"), ("two", "test")))
    return Recipe(name="leak", objectives=(Objective(kind, Supervised()),),
                  sources=(Source("one", train, serves=("kind",)),), streams=Implicit(batch=2),
                  model=Model(WideResNet(depth=10, width=1), channels=3), steps=1,
                  test=(Split("two", test, tasks=("kind",)),))
'''
    return write(folder / "leak.py", text)


def undeclared_transform(folder):
    recipe = study(Supervised(), test=())
    task = recipe.objectives[0].task.replace(invariant_to=("Brightness",))
    views = Views(weak=Policy(always=("HorizontalFlip",)), strong=Policy(always=("HorizontalFlip",)))
    return said(lambda: recipe.replace(objectives=(Objective(task, Supervised()),), views=views))


def ability_that_is_missing(folder):
    task = Segmentation("mask", classes=("road", "car"))
    reader = StreetPhantom(samples=4, canvas=(16, 16))
    sources = (Source("streets", reader, serves=("mask",)),)
    recipe = study(Supervised(), test=())
    return said(lambda: recipe.replace(objectives=(Objective(task, MixMatch()),), sources=sources))


def nothing_to_draw(folder):
    return said(lambda: run(folder)(study(Supervised(), test=(), streams=PerSource(labeled=4, unlabeled=0))))


def task_without_images(folder):
    recipe = study(Supervised(), test=())
    return said(lambda: recipe.replace(sources=(recipe.sources[0].replace(serves=()),)))


def no_run(folder):
    return refused("eval", folder)


def lost_plugin(folder):
    place = RunFolder.create(folder / "run", study(Supervised(), test=()), "troubleshooting.md")
    path = place.path / "recipe.json"
    path.write_text(path.read_text().replace("ShapesPhantom", "LostPhantom"))
    return refused("eval", place.path)


def no_image(folder):
    return refused("predict", folder)


PROVOKED = {
    "became": not_a_number,
    "images at a time": too_much_memory,
    "this machine": no_such_devices,
    "split evenly": uneven_batch,
    "has not been checked": not_checked,
    "has changed since": changed_since,
    "no image for training": nothing_to_train_on,
    "measure memory": leak,
    "declares neither": undeclared_transform,
    "with the ability": ability_that_is_missing,
    "nothing to draw from": nothing_to_draw,
    "no source serves": task_without_images,
    "not a run folder": no_run,
    "can't be rebuilt": lost_plugin,
    "no image was given": no_image,
}
"""How to come by a sentence, by words in it."""


def test_the_page_quotes_sentences():
    assert len(QUOTED) == len(PROVOKED)


@pytest.mark.parametrize("sentence", QUOTED, ids=lambda sentence: sentence[:40])
def test_a_quoted_sentence_is_what_is_said(sentence, tmp_path):
    (provoke,) = [how for words, how in PROVOKED.items() if words in sentence]
    message = " ".join(str(provoke(tmp_path)).split())
    assert re.fullmatch(re.escape(sentence).replace("…", ".+"), message), message
