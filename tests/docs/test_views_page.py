"""docs/views.md says what is: its programs run, its table is that of the classes, its pictures exist and are small."""

import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from ssmtl.component import kinds, resolve
from ssmtl.views import presets
from ssmtl.views.policy import Policy
from ssmtl.views.transform import Erasing, Graded, Warp

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "views.md").read_text()
HANDLING = {"p", "follow", "fill"}
KB = 1024


def default_range(cls):
    """Fields of numbers and ranges, as their defaults."""
    defaults = {name: field.default for name, field in cls.model_fields.items() if name not in HANDLING}
    if issubclass(cls, Graded):
        words = [f"{defaults['low']:g} to {defaults['high']:g}", *(["either way"] if cls.signed else [])]
    else:
        words = [f"{name} {_range(value)}" for name, value in defaults.items() if _is_number(value)]
    return ", ".join(words) or "-"


def _is_number(value):
    return isinstance(value, float) or (isinstance(value, tuple) and all(isinstance(side, float) for side in value))


def _range(value):
    return f"{value:g}" if isinstance(value, float) else f"{value[0]:g} to {value[1]:g}"


def line_of(kind):
    cls = resolve("transforms", kind)
    what = "blanks" if issubclass(cls, Erasing) else "geometric" if issubclass(cls, Warp) else "photometric"
    frames = ", a frame" if issubclass(cls, Warp) and cls.frames else ""
    counterpart = f"`{cls.kornia}`" if cls.kornia else "-"
    channels = "3" if cls.color else "any"
    return f"| `{kind}` | {what}{frames} | {default_range(cls)} | {cls.unit or '-'} | {counterpart} | {channels} |"


def test_the_table_is_that_of_the_classes():
    expected = [line_of(kind) for kind in kinds("transforms") if kind != "Kornia"]
    found = [line for line in PAGE.splitlines() if re.match(r"\| `[A-Z]\w*` \|", line)]
    assert len(expected) > 20
    assert found == expected, "paste this table:\n" + "\n".join(expected)


def test_every_preset_is_explained():
    policies = [
        name
        for name, value in vars(presets).items()
        if callable(value) and value.__module__ == presets.__name__ and not name.startswith("_")
    ]
    assert len(policies) > 5
    for name in policies:
        assert f"`{name}" in PAGE, name


def test_its_programs_run_and_what_they_say_is_true():
    programs = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(programs) >= 4
    names = {}
    for number, program in enumerate(programs):
        exec(compile(program, f"views.md, program {number}", "exec"), names)
    assert isinstance(names["strong"], Policy)
    assert names["view"].image.shape == (8, 3, 64, 96)
    outside = ~names["view"].valid
    assert outside.any()
    assert bool((names["moved"][outside] == 255).all()), "labels must be ignored where the view shows nothing"
    assert torch.equal(names["back"].image, names["images"] / 255)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\(images/([^)]+)\)", PAGE))))
def test_its_pictures_can_be_looked_at(name):
    path = ROOT / "docs" / "images" / name
    with Image.open(path) as picture:
        assert picture.width >= 1000
    assert path.stat().st_size < 700 * KB
