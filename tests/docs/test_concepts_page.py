"""docs/concepts.md: each symbol of the equation links to the line that computes it, wherever that line moves."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "concepts.md").read_text()
LINES = {
    "*L*": ("ssmtl/train_step.py", "loss = world * (coefficients * totals[: len(terms)]"),
    "∑ over *t*": ("ssmtl/train_step.py", "for objective in self.recipe.objectives:"),
    "*γ* and *λ* of *t*": ("ssmtl/objective.py", "return self.gamma if unscaled else self.gamma * self.lam"),  # noqa: RUF001
    "*λ* over time": ("ssmtl/schedules.py", "return _progress(step, fraction if self.over is None"),
    "*L* of *s, t*": ("ssmtl/strategies/supervised.py", "loss = task.supervised_loss(pred, target)"),
    "*L* of *u, t*": ("ssmtl/strategies/fixmatch.py", "consistency = task.unsupervised_loss("),
    "the mean in both": ("ssmtl/train_step.py", "global_counts = sums[1].maximum("),
}
ROWS = dict(re.findall(r"^\| (.+?) \| .+? \| (\[.+\)) \|$", PAGE, flags=re.MULTILINE))


def test_every_symbol_has_a_line():
    assert set(ROWS) - {"symbol"} == set(LINES)


@pytest.mark.parametrize("symbol", LINES)
def test_a_symbol_links_to_the_line_that_computes_it(symbol):
    path, marker = LINES[symbol]
    (line,) = [n for n, text in enumerate((ROOT / path).read_text().splitlines(), start=1) if marker in text]
    assert ROWS[symbol] == f"[{Path(path).name}](../{path}#L{line})"


def test_its_picture_is_there_and_small():
    (name,) = set(re.findall(r"\]\(images/([^)]+)\)", PAGE))
    assert 10_000 < (ROOT / "docs" / "images" / name).stat().st_size < 150_000
