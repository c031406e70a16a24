"""The words behind `ssmtl data`: from a folder of images to a table that training starts on."""

from pathlib import Path
from typing import Literal

from cyclopts import App

data = App(
    name="data",
    help="Turn a folder of your own images into data that ssmtl trains on, and look at what a recipe's data holds.",
    help_epilogue="""\
From a folder to a table to train on:

    ssmtl data init FOLDER

    ssmtl data check FOLDER/manifest.csv

    ssmtl data split FOLDER/manifest.csv

The table is a manifest: one row an image, one column a task, an empty cell where nobody looked. Open it in any editor,
correct it, and check it again.""",
    help_format="markdown",
)


def add_data_words(app: App) -> None:
    """Register `data` and its words with the command line."""
    app.command(data)


@data.command(
    help_epilogue="""\
Example: ssmtl data init films

What is understood, alone or together: `normal/*.png` and `sick/*.png` (also below `train/`, `val/`, `test/`);
`images/` with `masks/` of the same names, or `x.png` with `x_mask.png`; COCO files; YOLO's `labels/*.txt`, with names
from `data.yaml` or `classes.txt`; Pascal VOC's XML files; a CSV with a column of file names."""
)
def init(
    folder: Path,
    /,
    *,
    out: Path | None = None,
    folders: Literal["auto", "class", "group", "source", "nothing"] = "auto",
    force: bool = False,
) -> int:
    """Write a first manifest of a folder: a table of its images, with every label that is found beside them.

    Nothing of yours is changed. Masks that aren't maps of class numbers, such as black and white ones, are converted
    into a folder of their own. What was understood is printed, and what was left out, and why.

    Args:
        folder: The folder of your images.
        out: The manifest: a file in that folder or above it, .csv, .jsonl or .parquet. [default: FOLDER/manifest.csv]
        folders: What the names of subfolders say of the images in them. By itself: a class, or a group (such as a
            patient) where there are many with few images in each.
        force: Write over a manifest, a classes file and converted masks that are already there.
    """
    from ssmtl.commands.data_init import data_init

    return data_init(folder, out, folders, force)


@data.command(
    help_epilogue="""\
Example: ssmtl data check films/manifest.csv

To repair what can be repaired without asking, in a copy: ssmtl data check films/manifest.csv --fix films/fixed.csv"""
)
def check(
    file: Path,
    /,
    *,
    fix: Path | None = None,
    out: Path | None = None,
    allow_outside: bool = False,
    remote: bool = False,
    box_numbers: Literal["corners", "size"] | None = None,
) -> int:
    """Read every row of a manifest and every file that it names, and list all that is wrong, with what to do about it.

    Also prints how many images show each class, and which annotations images carry. Training starts only on a manifest
    that passed; an edited one has to pass again.

    Args:
        file: The manifest.
        fix: Write a manifest with everything repaired that can be; images and masks that had to be converted go into a
            folder beside it.
        out: A CSV file for all problems, where the table on the screen is too short for them.
        allow_outside: Allow paths that lead out of the manifest's folder.
        remote: Fetch images behind addresses such as s3://; nothing is fetched otherwise.
        box_numbers: What the four numbers of a box are, bare ones and those in `box` of inline boxes: two corners, or
            a corner and a size, which --fix turns into corners.
    """
    from ssmtl.commands.data_check import data_check

    return data_check(file, fix=fix, out=out, allow_outside=allow_outside, remote=remote, box_numbers=box_numbers)


@data.command(
    help_epilogue="""\
Example: ssmtl data split films/manifest.csv --val 0.15 --test 0.2

For the frames of videos without a column `group`: ssmtl data split streets/manifest.csv --near 32"""
)
def split(
    file: Path,
    /,
    *,
    val: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
    near: int = 12,
    again: bool = False,
    out: Path | None = None,
    allow_outside: bool = False,
    remote: bool = False,
) -> int:
    """Divide the images of a manifest into train, val and test, fairly for all tasks and classes at once.

    Rows of a `group` (a patient, a video) stay together, and so do copies of a picture. Every task keeps labels in
    train, and where there are enough of them in val and test; images without any label are all for training. Rows that
    have a split already keep it. The manifest is checked first and written back with the columns split, sha256 and
    phash, by which a later run notices when a test image turns up in training; the table as it was stays beside it as
    FILE.bak, or as FILE.bak2 and so on where there is one.

    Args:
        file: The manifest.
        val: Share of the labeled images to choose settings and checkpoints on.
        test: Share of the labeled images to report on.
        seed: Another number divides otherwise.
        near: Bits, of 256, in which the perceptual hashes of two pictures may differ to stay together. Copies that were
            scaled or compressed again differ in 8 or less, films of different people in 40 or more.
        again: Divide all rows anew, whatever their split was.
        out: Write there, beside the manifest, instead of over it.
        allow_outside: Allow paths that lead out of the manifest's folder.
        remote: Fetch images behind addresses such as s3://; nothing is fetched otherwise.
    """
    from ssmtl.commands.data_split import data_split
    from ssmtl.manifests.divided import HowToSplit

    how = HowToSplit(val, test, seed, near, again, allow_outside, remote)
    return data_split(file, out or file, how)


@data.command(name="coverage", help_epilogue="Example: ssmtl data coverage multimix_cxr --lung-labels 10")
def coverage_help(recipe: str, /) -> int:
    """Print which images are labeled for which task, and how many labeled rows of each a batch will carry.

    Per source and in all: images, labels of every task, and labels that the recipe's budget hides. Per stream: what it
    draws, how many of that is labeled on average, and how often a batch has nothing for a task; a starved task is
    warned of. The recipe's arguments are flags, as for `ssmtl run`, beside --out, which writes the numbers as JSON.

    Args:
        recipe: A recipe's file or name.
    """
    return coverage([recipe])


def coverage(tokens: list[str]) -> int:
    """Run `ssmtl data coverage` on the words of a recipe."""
    from ssmtl.commands.data import data_coverage

    return data_coverage(tokens)
