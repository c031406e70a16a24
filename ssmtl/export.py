"""A trained model as one file that runs without this package: ONNX, or a program of torch.export.

One function of images in [0, 1] returns what every task says, decoded (see `ssmtl.task.Exportable`). It is recorded on
a CPU in evaluation mode. A saliency bridge needs a gradient inside of the function: that is recorded too, as ordinary
operations.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.utils._pytree import tree_flatten

from ssmtl.errors import RecipeError
from ssmtl.models.multitask import MultiTaskModel
from ssmtl.models.saliency_bridge import saliency
from ssmtl.task import Exportable, Output, Prediction, Task

CELLS = (16, 24)
"""Height and width, in cells of the coarsest features, of the images that a dynamic size is recorded with: different,
and so large that still coarser levels have more than one cell, whose number would be taken for a constant."""
TOLERANCE = 1e-3
"""Largest difference from the model that a file may have: absolute, and relative to values beyond 1."""
INPUT = "images"

Arrays: TypeAlias = dict[str, Tensor]
Shape: TypeAlias = tuple[int, int, int, int]


class Deployed(nn.Module):
    """A model as one function from images in [0, 1] to the outputs of all tasks, by "<task>.<output>"."""

    def __init__(self, model: MultiTaskModel, tasks: Mapping[str, Task]) -> None:
        super().__init__()
        self.model = model.eval()
        self.tasks = dict(tasks)

    @property
    def stride(self) -> int:
        """Pixels of the input per cell of the encoder's coarsest features."""
        return self.model.encoder.spec.strides[-1]

    def forward(self, images: Float[Tensor, "n c h w"]) -> Arrays:
        return {name: output.values for name, output in self.outputs(images).items()}

    def outputs(self, images: Float[Tensor, "n c h w"]) -> dict[str, Output]:
        """Return every task's outputs with their meaning."""
        model, size = self.model, (images.shape[2], images.shape[3])
        normalized = (images - model.mean) / model.std
        features = model.encoder(normalized)
        found: dict[str, Output] = {}
        for name, task in self.tasks.items():
            extra = None
            if model.bridge is not None and model.bridge.into == name:
                maps = saliency(model.encoder, model.heads[model.bridge.source], normalized, model.bridge.norm)
                extra = torch.cat([normalized, maps], dim=1)
            pred = model.heads[name](features, size, extra)
            parts = task.exported(pred) if isinstance(task, Exportable) else _raw(pred)
            found |= {f"{name}.{part}": output for part, output in parts.items()}
        return found


def describe(module: Deployed, size: tuple[int, int]) -> dict[str, Output]:
    """Return what the model says of a blank image of (height, width); raises RecipeError when it can't take one."""
    if min(size) < 1:
        raise RecipeError(f"images of {size} pixels (height, width) were asked for; give two sides of 1 or more.")
    try:
        with torch.no_grad():
            return module.outputs(torch.zeros(1, module.model.channels, *size))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise RecipeError(
            f"the model can't predict images of {size[0]} x {size[1]} pixels ({reason}); give multiples of "
            f"{module.stride}, such as those it was trained with."
        ) from error


def record(module: Deployed, size: tuple[int, int], *, dynamic: bool) -> ExportedProgram:
    """Return the model as a graph: for any number of images, of `size` or, when `dynamic`, of multiples of the stride.

    Raises RecipeError for a model that PyTorch can't record.
    """
    shape: dict[int, Any] = {0: Dim("n", min=1)}
    if dynamic:
        size = CELLS[0] * module.stride, CELLS[1] * module.stride
        shape |= {axis: module.stride * Dim(f"{name}_cells", min=2) for axis, name in ((2, "height"), (3, "width"))}
    example = torch.zeros(2, module.model.channels, *size)
    instead = "name a fixed --size" if dynamic else "predict with ssmtl itself"
    with torch.no_grad(), _refusing(f"record this model{' for a dynamic size' if dynamic else ''}", instead):
        graph = module if module.model.bridge is None else _with_gradients(module, example)
        return torch.export.export(graph, (example,), dynamic_shapes=(shape,))


def smallest(program: ExportedProgram, module: Deployed) -> int:
    """Return from which side in pixels on a program of dynamic size takes images.

    Below, a level of features would shrink to a single cell, for which PyTorch records other operations.
    """
    run = program.module()
    for cells in range(2, CELLS[0]):
        side = cells * module.stride
        try:
            with torch.no_grad():
                run(torch.zeros(1, module.model.channels, side, side))
        except (AssertionError, RuntimeError):
            continue
        return side
    return CELLS[0] * module.stride


def require_onnx() -> None:
    """Raise RecipeError where the packages that write ONNX are missing."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise RecipeError(
            f"writing ONNX needs the package {error.name}, which isn't installed; install it with "
            '`pip install "ssmtl[export]"`, or use --format torch.'
        ) from error


def save_onnx(program: ExportedProgram, names: Sequence[str], notes: Mapping[str, str], file: Path) -> int:
    """Write an ONNX file with `notes` as metadata; return its opset. Raises RecipeError for what ONNX can't express."""
    with _refusing("write this model as ONNX", "use --format torch"):
        found = torch.onnx.export(
            program, input_names=[INPUT], output_names=list(names), dynamo=True, verbose=False, optimize=True
        )
        assert found is not None
        found.model.metadata_props.update(notes)
        found.save(str(file))
    return found.model.opset_imports[""]


def run_onnx(file: Path) -> Callable[[Tensor], Arrays] | None:
    """Return a function that runs an ONNX file on the CPU, or None when onnxruntime isn't installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(images: Tensor) -> Arrays:
        arrays = session.run(names, {INPUT: images.numpy()})
        return {name: torch.from_numpy(array) for name, array in zip(names, arrays, strict=True)}

    return run


def save_program(program: ExportedProgram, notes: Mapping[str, str], file: Path) -> Callable[[Tensor], Arrays]:
    """Write a program of torch.export, a .pt2 file, and return a function that runs what can be read from it."""
    with _refusing("write this model as a program", "use --format onnx, or name a fixed --size"):
        torch.export.save(program, file, extra_files=dict(notes))
        module = torch.export.load(file).module()

    def run(images: Tensor) -> Arrays:
        with torch.no_grad():
            return module(images)

    return run


def largest_difference(module: Deployed, run: Callable[[Tensor], Arrays], shapes: Sequence[Shape]) -> float:
    """Return how far a file is from the model on random images: absolute, and relative to outputs larger than 1.

    Raises RecipeError when that is more than rounding can do, or anything isn't a number.
    """
    draw = torch.Generator().manual_seed(0)
    worst = 0.0
    for shape in shapes:
        images = torch.rand(shape, generator=draw)
        with torch.no_grad():
            wanted = module(images)
        given = run(images)
        for name, values in wanted.items():
            wrong = (given[name].double() - values.double()).abs() / values.double().abs().clamp(min=1)
            difference = float(wrong.max()) if wrong.numel() else 0.0
            if not difference <= TOLERANCE or given[name].shape != values.shape:
                raise RecipeError(
                    f"the file's '{name}' differs from the model's by {difference:.2g} on random images of shape "
                    f"{shape}, and at most {TOLERANCE:g} can be rounding; nothing was kept: try another --format."
                )
            worst = max(worst, difference)
    return worst


def _raw(pred: Prediction) -> dict[str, Output]:
    """Return the tensors of a prediction under the names of their fields."""
    meaning = "as the task's head returns it"
    if isinstance(pred, Tensor):
        return {"prediction": Output(pred, meaning)}
    if isinstance(pred, tuple) and hasattr(pred, "_asdict"):
        return {name: Output(value, meaning) for name, value in pred._asdict().items()}
    return {str(number): Output(leaf, meaning) for number, leaf in enumerate(tree_flatten(pred)[0])}


def _with_gradients(module: Deployed, example: Tensor) -> nn.Module:
    """Return the model as a graph of plain operations: torch.export alone can't record a gradient."""
    from torch._decomp import core_aten_decompositions
    from torch.fx.experimental.proxy_tensor import make_fx

    rules = {op: rule for op, rule in core_aten_decompositions().items() if "backward" in str(op)}
    rules[torch.ops.aten.convolution_backward.default] = _convolution_backward
    traced = make_fx(module, decomposition_table=rules, tracing_mode="symbolic", _allow_non_fake_inputs=True)
    graph: nn.Module = traced(example)
    return graph


def _convolution_backward(
    slope: Tensor, images: Tensor, weight: Tensor, _bias: Any, stride: list[int], padding: list[int], *rest: Any
) -> tuple[Tensor, None, None]:
    """Return the gradient of a convolution's input, a transposed convolution, which is all that a saliency map needs.

    ONNX has no operation for it, and PyTorch no decomposition.
    """
    dilation, transposed, _, groups, wanted = rest
    assert not transposed
    assert wanted == [True, False, False]
    lacking = []
    for size, kernel, given, step, pad, gap in zip(
        images.shape[2:], weight.shape[2:], slope.shape[2:], stride, padding, dilation, strict=True
    ):
        lacking.append(size - ((given - 1) * step - 2 * pad + gap * (kernel - 1) + 1))
    gradient = torch.ops.aten.convolution(slope, weight, None, stride, padding, dilation, True, lacking, groups)
    return gradient, None, None


@contextmanager
def _refusing(what: str, instead: str) -> Iterator[None]:
    """Turn whatever PyTorch raises into a sentence, and keep its remarks on its own internals to itself."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # PyTorch raises some twenty unrelated classes here
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        reason = (str(root).strip() or type(root).__name__).splitlines()[0].rstrip(".")
        raise RecipeError(f"PyTorch can't {what} ({reason}); {instead}.") from error
