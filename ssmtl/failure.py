"""What is kept of a step that went wrong: enough to look at it again, on another machine too."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from ssmtl.loader import Collator, Mixture, OpenSources
from ssmtl.streams import StepSampler


def save_failure(folder: Path, sources: OpenSources, step: int, values: dict[str, float], student: nn.Module) -> None:
    """Write the batch of `step` (images and names), every term's value, and the student's weights at discovery."""
    folder.mkdir(parents=True, exist_ok=True)
    k = sources.recipe.accumulate
    sampler = StepSampler(sources.groups(), sources.recipe.seed, step * k, (step + 1) * k)
    dataset, collate = Mixture(sources), Collator(sources)
    batches = [collate([dataset[ref] for ref in refs]) for refs in sampler]
    save_file({"images": torch.cat([batch.images for batch in batches])}, folder / "batch.safetensors")
    weights = {name: value.detach().cpu().contiguous() for name, value in student.state_dict().items()}
    save_file(weights, folder / "student.safetensors")
    names = [name for batch in batches for name in batch.names]
    shown = {name: repr(value) for name, value in values.items()}
    (folder / "step.json").write_text(json.dumps({"step": step, "terms": shown, "images": names}, indent=1))
