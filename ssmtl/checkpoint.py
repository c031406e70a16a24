"""Checkpoints: written whole or not at all, verified when read, with the previous one to fall back to.

A checkpoint is a folder of files and a `manifest.json` with their SHA-256. It is written beside its place, flushed to
disk, and renamed; the one that stood there is kept as `<name>.previous`. Weights are safetensors; optimizer state is
read with `weights_only=True`. Nothing is ever unpickled.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ssmtl.errors import CheckpointError

Tensors = dict[str, Tensor]


def save_checkpoint(
    folder: Path, *, student: nn.Module, teacher: nn.Module, state: dict[str, Any], optimizer: dict[str, Any] | None
) -> None:
    """Write a checkpoint at `folder`, atomically; `state` is JSON, `optimizer` tensors and plain values.

    Raises CheckpointError when the disk is full or not writable; what stood at `folder` is untouched then.
    """
    fresh = folder.with_name(f".{folder.name}.new")
    previous = folder.with_name(f"{folder.name}.previous")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        save_file(_contiguous(student), fresh / "student.safetensors")
        save_file(_contiguous(teacher), fresh / "teacher.safetensors")
        if optimizer is not None:
            torch.save(optimizer, fresh / "optimizer.pt")
        digests = {path.name: _digest(path) for path in sorted(fresh.iterdir())}
        (fresh / "manifest.json").write_text(json.dumps({"state": state, "files": digests}, indent=1))
        for path in fresh.iterdir():
            _flush(path)
        if folder.exists():
            shutil.rmtree(previous, ignore_errors=True)
            folder.rename(previous)
        fresh.rename(folder)
        _flush(folder.parent)
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise CheckpointError(
            f"the checkpoint {folder} can't be written ({error}); the previous one is untouched. Free some space or "
            "fix the permissions, then go on with --resume."
        ) from error


def load_checkpoint(folder: Path, *, fall_back: bool = True) -> tuple[Path, dict[str, Any]]:
    """Verify the checkpoint at `folder` and return (the folder that is good, its state).

    A damaged or missing one falls back to `<name>.previous`, or to one that was complete but not yet in its place.
    Raises CheckpointError when none is good, saying what is wrong with each.
    """
    reasons = []
    beside = (folder.with_name(f"{folder.name}.previous"), folder.with_name(f".{folder.name}.new"))
    candidates = (folder, *beside) if fall_back else (folder,)
    for candidate in candidates:
        try:
            return candidate, _verify(candidate)
        except CheckpointError as error:
            reasons.append(str(error))
    raise CheckpointError(f"no usable checkpoint: {'; '.join(reasons)}. Start the run again, or restore a copy.")


def load_weights(folder: Path, name: str) -> Tensors:
    """Return the tensors of `student` or `teacher` in a verified checkpoint."""
    try:
        return load_file(folder / f"{name}.safetensors")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder / name}.safetensors can't be read ({error}).") from error


def load_optimizer(folder: Path) -> dict[str, Any]:
    """Return the optimizer state of a verified checkpoint."""
    try:
        state: dict[str, Any] = torch.load(folder / "optimizer.pt", map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{folder / 'optimizer.pt'} can't be read as plain tensors ({reason}).") from error
    return state


def put_weights(module: nn.Module, weights: Tensors, origin: Path) -> None:
    """Load weights strictly; raises CheckpointError naming the first tensors that don't fit."""
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        lines = " ".join(str(error).split()[:40])
        raise CheckpointError(f"{origin} doesn't fit the model of the recipe: {lines}") from error


def _verify(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        state, files = manifest["state"], manifest["files"]
    except FileNotFoundError:
        raise CheckpointError(f"{folder} holds no checkpoint") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder} has a damaged manifest ({error})") from error
    for name, digest in files.items():
        path = folder / Path(name).name
        if not path.is_file() or _digest(path) != digest:
            raise CheckpointError(f"{path} is missing or damaged")
    return dict(state)


def _contiguous(module: nn.Module) -> Tensors:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()}


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
