"""Files on other machines, and inside archives: fetched once, then read from a folder of this machine."""

import hashlib
import os
import re
from pathlib import Path, PurePosixPath

import fsspec

from ssmtl.errors import DataError

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_LONGEST_ENDING = 16
_SECRET = re.compile(r"//[^/@]*@")


def is_uri(text: str) -> bool:
    """Tell whether a text names a file behind a protocol, such as s3://bucket/a.png, or zip://a.png::s3://bucket/b.zip."""
    return _URI.match(text) is not None


def cache_folder() -> Path:
    """Return where fetched files are kept: `ssmtl/remote` in the user's cache (XDG_CACHE_HOME)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ssmtl" / "remote"


def fetch(uri: str) -> Path:
    """Return a local copy of what a URI names, downloading it the first time; a copy is whole or not there.

    What has changed over there since is not noticed. Raises DataError for a protocol that isn't installed or known, and
    for what can't be fetched.
    """
    folder = cache_folder()
    ending = PurePosixPath(uri.partition("?")[0]).suffix[:_LONGEST_ENDING]
    copy = folder / f"{hashlib.sha256(uri.encode()).hexdigest()[:32]}{ending}"
    if copy.exists():
        return copy
    partial = folder / f".{copy.name}.{os.getpid()}"
    shown = _SECRET.sub("//...@", uri)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files, place = fsspec.url_to_fs(uri)
        files.get_file(place, str(partial))
        partial.replace(copy)
    except ImportError as error:
        raise DataError(f"{shown} can't be fetched: {error}; install that package beside ssmtl.") from error
    except FileNotFoundError as error:
        raise DataError(f"{shown} is not there; correct the address, or empty the cell.") from error
    # Every protocol has exceptions of its own.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataError(
            f"{shown} can't be fetched ({reason}); check the address, the network and your access."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return copy
