"""The stamp of a passed check: training starts only on the very table that was checked."""

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ssmtl.errors import DataError
from ssmtl.manifests.classes import classes_path


class Stamp(BaseModel):
    """What `<stem>.checked.json` holds: the SHA-256 of the table and of its classes file ("" where there is none).

    `file` is the table's name, as two tables may share a stem; `rows` counts its rows. Images, masks and COCO files
    aren't hashed: that would take longer than the check.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    file: str
    rows: int
    table: str
    classes: str


def stamp_path(path: Path) -> Path:
    """Return where the stamp of a manifest lies."""
    return path.with_name(f"{path.stem}.checked.json")


def write_stamp(path: Path, rows: int) -> Stamp:
    """Write that the manifest at `path`, of so many rows, has passed its check, and return what was written."""
    stamp = Stamp(file=path.name, rows=rows, table=_sha256(path), classes=_classes_sha256(path))
    place = stamp_path(path)
    fresh = place.with_name(f".{place.name}.new")
    fresh.write_text(stamp.model_dump_json(indent=1))
    fresh.replace(place)
    return stamp


def remove_stamp(path: Path) -> None:
    """Take the stamp of a manifest away, if it has one: it was refused."""
    stamp_path(path).unlink(missing_ok=True)


def require_stamp(path: Path) -> Stamp:
    """Return the stamp of a manifest; raises DataError where it wasn't checked, was refused, or has changed since."""
    place, advice = stamp_path(path), f"run `ssmtl data check {path}`, and see to what it names."
    try:
        stamp = Stamp.model_validate_json(place.read_bytes())
    except OSError:
        raise DataError(f"{path} has not been checked, or was refused by `ssmtl data check`; {advice}") from None
    except ValidationError as error:
        raise DataError(f"{place} is no stamp of a check; {advice}") from error
    if stamp.file != path.name:
        raise DataError(f"{path} has not been checked, only {stamp.file} beside it has; {advice}")
    if stamp.table != _sha256(path):
        raise DataError(f"{path} has changed since it was checked; {advice}")
    if stamp.classes != _classes_sha256(path):
        raise DataError(f"{classes_path(path)} has changed since {path.name} was checked; {advice}")
    return stamp


def _classes_sha256(path: Path) -> str:
    place = classes_path(path)
    return _sha256(place) if place.exists() else ""


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} can't be read ({error.strerror}); correct the path, or its permissions.") from error
