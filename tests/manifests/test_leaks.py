"""A test image in training is refused, by its bytes or as a copy, whichever table wraps it or file lists it."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from own_folder import picture, write

from ssmtl import AdamW, Model, Objective, Recipe, Source, Split, Supervised
from ssmtl.datasets.base import fingerprints_of
from ssmtl.datasets.cached import CachedTable
from ssmtl.datasets.extend import Extend
from ssmtl.datasets.manifest import Manifest
from ssmtl.datasets.subset import Subset
from ssmtl.engine import Options, train
from ssmtl.errors import DataError
from ssmtl.manifests.divided import HowToSplit, split_manifest
from ssmtl.manifests.fingerprints import SAME_PICTURE, Fingerprints
from ssmtl.manifests.leaks import Images, check_leaks, leaks, refuse_leaks
from ssmtl.models.multimix_unet import MultiMixEncoder
from ssmtl.runs import RunFolder
from ssmtl_tasks import Classification

NONE = np.zeros((1, 4), dtype=np.uint64)


def some(seed, rows):
    return np.random.default_rng(seed).integers(1, 2**63, (rows, 4), dtype=np.uint64)


def flipped(hashes, bits):
    changed = hashes.copy()
    changed[0, 0] ^= np.uint64(2**bits - 1)
    return changed


def images(what, sha256, phash):
    return Images(Fingerprints(sha256, phash), lambda row: f"{what}/{row}.png")


def test_the_same_bytes_are_refused_with_both_names():
    files = some(0, 3)
    training, testing = images("a", files, np.zeros_like(files)), images("b", files[[2]], NONE)
    with pytest.raises(DataError) as refused:
        refuse_leaks(training, testing)
    assert str(refused.value) == (
        "b/0.png is the same file as a/2.png, so a score would measure memory; take one of the two out, or divide the "
        "data again with `ssmtl data split FILE --again`."
    )


def test_a_copy_is_refused_up_to_the_distance_of_copies():
    pictures = some(1, 4)
    training = images("a", some(2, 4), pictures)
    with pytest.raises(DataError, match=r"b/0\.png is the same picture saved again as a/0\.png, so"):
        refuse_leaks(training, images("b", some(3, 1), flipped(pictures[:1], SAME_PICTURE)))
    refuse_leaks(training, images("b", some(3, 1), flipped(pictures[:1], SAME_PICTURE + 1)))


def test_how_many_more_there_are_is_said():
    pictures = some(1, 4)
    with pytest.raises(DataError, match=r"\(and 3 more like it\)"):
        refuse_leaks(images("a", some(2, 4), pictures), images("b", some(3, 4), pictures))


def test_images_without_hashes_are_no_copies_of_each_other():
    unknown = Fingerprints(np.zeros((3, 4), dtype=np.uint64), np.zeros((3, 4), dtype=np.uint64))
    assert leaks(unknown, unknown).tolist() == []


def test_pairs_come_once_each_in_the_order_of_the_test_images():
    files = some(4, 5)
    prints = Fingerprints(files, files)
    assert leaks(prints, prints.take(np.array([4, 1]))).tolist() == [[4, 0], [1, 1]]


@dataclass(frozen=True)
class Known:
    """A table that knows hashes; `files` stand for both kinds."""

    files: np.ndarray

    def fingerprints(self):
        return Fingerprints(self.files, self.files)

    def name(self, row):
        return f"{row}.png"


def named(*names, select="last"):
    one, two, three = (SimpleNamespace(name=name) for name in names)
    return SimpleNamespace(sources=[one], validation=[two], test=[three], select=select)


def test_a_recipe_is_refused_by_source_and_split():
    a, b, c = some(5, 3), some(6, 2), some(7, 2)
    recipe = named("films", "validation", "test")
    check_leaks(recipe, [Known(a)], [Known(b)], [Known(c)])
    shown = r"^1\.png of the split '{}' is the same file as 2\.png of the source 'films', so"
    with pytest.raises(DataError, match=shown.format("test")):
        check_leaks(recipe, [Known(a)], [Known(b)], [Known(np.stack([c[0], a[2]]))])
    with pytest.raises(DataError, match=shown.format("validation")):
        check_leaks(recipe, [Known(a)], [Known(np.stack([b[0], a[2]]))], [Known(c)])


def test_choosing_a_checkpoint_by_test_images_is_refused():
    a, b = some(5, 3), some(6, 2)
    check_leaks(named("films", "validation", "test"), [Known(a)], [Known(b)], [Known(b)])
    with pytest.raises(DataError, match=r"0\.png of the split 'test' is the same file as 0\.png of the split 'valid"):
        check_leaks(named("films", "validation", "test", select="best"), [Known(a)], [Known(b)], [Known(b)])


def test_a_table_without_hashes_is_not_compared():
    a = some(5, 3)
    check_leaks(named("films", "validation", "test"), [Known(a)], [SimpleNamespace()], [SimpleNamespace()])


@pytest.fixture(scope="module")
def two_manifests(tmp_path_factory):
    """A divided manifest, and another one of the same folder that tests on one of the first one's training images."""
    root = tmp_path_factory.mktemp("own")
    for place in range(10):
        picture(root / f"{place}.png", seed=place)
    rows = "".join(f"{place}.png,{'ab'[place % 2]}\n" for place in range(8))
    first = write(root / "first.csv", f"image,label\n{rows}")
    split_manifest(first, first, HowToSplit(val=0, test=0.25))
    train_row = next(line for line in first.read_text().splitlines() if "train" in line)
    stolen = train_row.split(",")[0].strip('"')
    picture(root / "copy.jpg", seed=int(stolen[0]), quality=95)
    second = write(root / "second.csv", "image,label\n8.png,a\n9.png,b\ncopy.jpg,a\n")
    split_manifest(second, second, HowToSplit(val=0, test=0.34))
    return first, second, stolen


def reader(path, split):
    return Manifest.of(path, split=split, canvas=(32, 32), channels=1)


def test_hashes_reach_through_every_wrapper(two_manifests):
    first, _, _ = two_manifests
    plain = reader(first, "train")
    prints = fingerprints_of(plain.open())
    assert prints.sha256.any(axis=1).all()
    assert prints.phash.any(axis=1).all()
    wrapped = fingerprints_of(CachedTable(Extend(plain, rounds=2, aug="none").open(), 0))
    assert wrapped.sha256.tolist() == [*prints.sha256.tolist()] * 2
    only = Subset(plain, only=("b",)).open()
    rows = [row for row in range(len(prints.sha256)) if int(plain.open().labels()[row]) == 1]
    assert fingerprints_of(only).phash.tolist() == prints.phash[rows].tolist()


def test_a_run_with_a_copy_in_its_test_split_does_not_start(two_manifests, tmp_path):
    first, second, stolen = two_manifests
    task = Classification("label", classes=("a", "b"))
    recipe = Recipe(
        name="leaky",
        objectives=(Objective(task, Supervised()),),
        sources=(Source("films", reader(first, "train"), serves=("label",)),),
        model=Model(MultiMixEncoder()),
        optimizer=AdamW(),
        test=(Split("test", reader(second, "all"), tasks=("label",)),),
        steps=1,
    )
    run = RunFolder.create(tmp_path / "run", recipe, "ssmtl run leaky.py")
    with pytest.raises(DataError) as refused:
        train(recipe, run, Options(workers=0, quiet=True))
    assert f"copy.jpg of the split 'test' is the same picture saved again as {stolen} of the source" in str(
        refused.value
    )
