"""`ssmtl views`: a picture of what training would see, from a recipe and its flags, or one sentence."""

import pytest
from golden import ROOT
from in_process import call, refused
from launch import TINY
from PIL import Image

from ssmtl.commands.recipes import load_recipe
from ssmtl.views.ops import WARPS

STREET = ROOT / "examples" / "views_street.py"


def size_of(path):
    with Image.open(path) as picture:
        picture.load()
        return picture.format, picture.width, picture.height


def test_it_draws_a_recipe_by_name_and_makes_the_folder(tmp_path):
    out = tmp_path / "new" / "sheet.png"
    outcome = call("views", "multimix_cxr", "--size", 32, "--rows", 2, "--out", out)
    assert (outcome.code, outcome.out.strip()) == (0, f"views: {out}"), outcome
    kind, width, height = size_of(out)
    assert kind == "PNG"
    assert width > 5 * 320
    assert height > 2 * 320


def test_the_same_words_give_the_same_picture_and_replace_it(tmp_path):
    words = ("views", TINY, "--rows", 1, "--out", tmp_path / "sheet.png")
    call(*words)
    first = (tmp_path / "sheet.png").read_bytes()
    assert call(*words).out.strip().endswith("sheet.png (replaced)")
    assert (tmp_path / "sheet.png").read_bytes() == first


@pytest.mark.parametrize("flag", [("--step", 1), ("--seed", 1), ("--rows", 2)])
def test_every_flag_changes_the_picture(flag, tmp_path):
    call("views", TINY, "--rows", 1, "--out", tmp_path / "a.png")
    assert call("views", TINY, "--rows", 1, *flag, "--out", tmp_path / "b.png").code == 0
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def test_by_default_it_writes_views_png_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("views", TINY, "--rows", 1).out.strip() == "views: views.png"
    assert size_of("views.png")[0] == "PNG"


def test_it_writes_jpeg_too(tmp_path):
    assert call("views", TINY, "--rows", 1, "--out", tmp_path / "sheet.JPG").code == 0
    assert size_of(tmp_path / "sheet.JPG")[0] == "JPEG"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("views", TINY, "--out", "sheet.gif"), "--out sheet.gif must end in .png or .jpg"),
        (("views", TINY, "--out", "sheet"), "--out sheet must end in .png or .jpg"),
        (("views", TINY, "--out", "folder.png"), "--out folder.png is a folder; name a file in it"),
        (("views", TINY, "--out", "file/sheet.png"), "the file system refused file"),
        (("views", TINY, "--rows", 0), "a sheet can't have 0 rows; ask for --rows 1 to 100."),
        (("views", TINY, "--rows", 101), "a sheet can't have 101 rows"),
        (("views", TINY, "--rows", "many"), 'Invalid value for --rows: unable to convert "many" into int'),
        (("views", TINY, "--step", -1), "there is no step -1; the first is --step 0."),
        (("views", TINY, "--stpe", 1), "Unknown option: --stpe. Did you mean --step?"),
        (("views", TINY, "--dropout", 2), "less than 1"),
        (("views", "multimix_cx"), "did you mean 'multimix_cxr'?"),
        (("views", "multimix_cxr", "--data", "nowhere"), "nowhere"),
        (("views",), "parameter RECIPE requires an argument"),
        (("veiws", TINY), 'Did you mean "views"?'),
    ],
)
def test_mistakes_are_one_sentence_and_leave_no_picture(words, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_text("")
    assert says in refused(*words)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder.png"]


def test_a_recipe_may_not_hide_its_flags(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def recipe(*, data=None, seed: int = 0, rows: int = 3): ...\n")
    assert "the argument 'rows' of" in refused("views", path)
    assert "hides a flag of `ssmtl run` or `ssmtl views`" in refused("run", path)


def test_help_teaches():
    page = call("views", "multimix_cxr", "--help").out
    own, _, shared = page.partition("Flags of the sheet")
    for flag in ("--data", "--method", "--diagnosis-labels", "--size", "--seed"):
        assert flag in own
    for flag in ("--out", "--rows", "--step"):
        assert flag in shared
    assert "--devices" not in page
    assert "ssmtl views multimix_cxr" in page
    general = call("views", "--help").out
    for word in ("RECIPE", "--rows", "before training", "Example: ssmtl views multimix_cxr"):
        assert word in general
    assert "views" in call("--help").out


@pytest.mark.parametrize(("method", "crop"), [("dense-fixmatch", "overlapping"), ("fixmatch-star", "same")])
def test_the_street_example_is_dense_fixmatch_or_fixmatch_star(method, crop):
    recipe = load_recipe(STREET)(method=method)
    strong = recipe.policy(recipe.sources[0], "strong")
    assert strong.always[0].follow == crop
    assert bool({op.kind for op in strong.transforms()} & set(WARPS)) == (method == "dense-fixmatch")
    assert {"Cutout", "Solarize"} <= {op.kind for op in strong.transforms()}


def test_the_street_example_is_drawn(tmp_path):
    assert call("views", STREET, "--method", "fixmatch-star", "--rows", 1, "--out", tmp_path / "street.png").code == 0
    assert size_of(tmp_path / "street.png")[1] > 5 * 256
