"""`ssmtl new`: a plugin package that works, to be changed into one's own, and recipes copied out to be edited."""

import importlib.util
import re
from pathlib import Path
from typing import Literal, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.console import Console

from ssmtl.commands.recipes import find_recipe
from ssmtl.component import kinds
from ssmtl.errors import RecipeError

Kind = Literal["task", "strategy"]
GROUPS: dict[Kind, str] = {"task": "tasks", "strategy": "strategies"}
SUFFIX = ".j2"


class Names(NamedTuple):
    """What the parts of a package are called: the class, its file, the package to import, and that to install."""

    cls: str
    file: str
    module: str
    distribution: str


def new_plugin(kind: Kind, name: str, out: Path | None) -> int:
    """Write a package with one task or strategy into a new folder; returns the exit code.

    Raises RecipeError for a name that can't be one or is taken, and for a folder that holds something.
    """
    names = names_for(name)
    _check_free(kind, names)
    folder = out or Path(names.distribution)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RecipeError(f"'{folder}' exists and is not an empty folder; name another one with --out.")
    for path, text in rendered(kind, names).items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"wrote {folder}: a {kind} that works, and README.md, which says what to change. Go on with:")
    console.print(f'  cd {folder} && pip install -e ".\\[dev]" && pytest')
    return 0


def new_recipe(name: str | None, like: str, out: Path | None) -> int:
    """Copy a recipe that comes with ssmtl into a new file; returns the exit code.

    Raises RecipeError for an unknown recipe, and for a file that exists.
    """
    source = find_recipe(like)
    if name is not None and out is not None:
        raise RecipeError("NAME and --out both say what the file is called; give one of them.")
    if name is not None and not name.isidentifier():
        raise RecipeError(f"'{name}' can't be the name of a recipe; use letters, digits and underscores.")
    target = out or Path(f"{name or source.stem}.py")
    if target.exists():
        raise RecipeError(f"'{target}' exists; remove it, or give the copy another name.")
    if target.suffix != ".py":
        raise RecipeError(f"a recipe is a Python file, got '{target}'; let the name end in .py.")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())
    Console(highlight=False, soft_wrap=True).print(f"wrote {target}. Go on with: ssmtl run {target} --help")
    return 0


def names_for(name: str) -> Names:
    """Return the names of a package from that of its class or file: "Depth", "MonoDepth" or "mono_depth"."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*", name):
        raise RecipeError(
            f"'{name}' can't be the name of a class; begin with a letter and use letters and digits, as in MonoDepth "
            "or mono_depth."
        )
    cls = name if name[0].isupper() and "_" not in name else "".join(p[0].upper() + p[1:] for p in name.split("_"))
    file = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls).lower()
    return Names(cls, file, f"ssmtl_{file}", f"ssmtl-{file.replace('_', '-')}")


def rendered(kind: Kind, names: Names) -> dict[Path, str]:
    """Return the text of every file of a package by its path in it."""
    loader = PackageLoader("ssmtl", f"templates/{kind}")
    # Programs are no web pages: nothing is to be escaped.
    pages = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701
    found = {}
    for template in pages.list_templates():
        text = pages.get_template(template).render(**names._asdict(), group=GROUPS[kind])
        place = (
            template.removesuffix(SUFFIX)
            .replace("module/", f"{names.module}/")
            .replace("plugin.py", f"{names.file}.py")
        )
        found[Path(place)] = text
    return found


def _check_free(kind: Kind, names: Names) -> None:
    taken = {name.casefold(): name for name in kinds(GROUPS[kind])}
    if names.cls.casefold() in taken:
        raise RecipeError(f"there is a {kind} called {taken[names.cls.casefold()]} already; choose another name.")
    if importlib.util.find_spec(names.module) is not None:
        raise RecipeError(f"a package called {names.module} is installed already; choose another name.")
