import math

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from ssmtl.checkpoint import save_checkpoint
from ssmtl.component import resolve
from ssmtl.errors import RecipeError
from ssmtl.models.heads import LinearHead
from ssmtl.models.multitask import Model, batch_statistics
from ssmtl.models.wide_resnet import WideResNet
from ssmtl_tasks.classification import Classification

SMALL = WideResNet(depth=10, width=1)


def model(encoder, channels=3, seed=0, pretrained=True):
    torch.manual_seed(seed)
    task = Classification("animal", classes=("cat", "dog", "emu"), head=LinearHead(init="glorot"))
    return Model(encoder, channels=channels).build([task], pretrained=pretrained)


def same(first, second):
    return all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_it_is_found_under_its_name():
    assert resolve("encoders", "WideResNet") is WideResNet


def test_wrn_28_2_has_as_many_parameters_as_counted_by_hand():
    """Each block has two norms (scale, shift) and two convolutions; a stage's first block a shortcut besides."""

    def stage(inputs, w):
        first = 2 * inputs + 9 * inputs * w + 2 * w + 9 * w * w + inputs * w
        return first + 3 * (2 * w + 9 * w * w + 2 * w + 9 * w * w)

    by_hand = 9 * 3 * 16 + stage(16, 32) + stage(32, 64) + stage(64, 128) + 2 * 128 + (128 + 1) * 10
    encoder = WideResNet().build(3)
    head = LinearHead().build(encoder.spec, 10)
    assert sum(p.numel() for part in (encoder, head) for p in part.parameters()) == by_hand == 1_467_610


def test_wrn_28_2_has_28_layers_with_weights_on_the_longest_way():
    encoder = WideResNet().build(3)
    convolutions = [part for part in encoder.modules() if isinstance(part, nn.Conv2d)]
    assert sum(part.kernel_size == (3, 3) for part in convolutions) + 1 + 2 == 28  # the linear layer; as papers count
    assert sum(part.kernel_size == (1, 1) for part in convolutions) == 3
    assert all(part.bias is None for part in convolutions)


@pytest.mark.parametrize(("channels", "size"), [(3, (32, 32)), (1, (40, 24)), (4, (33, 30))])
def test_maps_are_what_the_spec_says(channels, size):
    encoder = WideResNet(depth=10, width=2).build(channels)
    assert encoder.spec == ((32, 64, 128), (1, 2, 4), 0)
    maps = encoder(torch.rand(2, channels, *size))
    sides = [tuple(math.ceil(side / stride) for side in size) for stride in (1, 2, 4)]
    assert [tuple(m.shape) for m in maps] == [(2, c, *s) for c, s in zip((32, 64, 128), sides, strict=True)]


def by_the_paper(encoder, x, blocks, slope, training):
    """The network in plain functions, from the tensors of the module's state in their order."""
    tensors = iter([t for t in encoder.state_dict().values() if t.is_floating_point()])

    def norm(x):
        scale, shift, mean, var = (next(tensors).clone() for _ in range(4))
        return functional.leaky_relu(functional.batch_norm(x, mean, var, scale, shift, training), slope)

    x = functional.conv2d(x, next(tensors), padding=1)
    for stage in range(3):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            active = norm(x)
            kept = active if not stage and not block else x
            y = functional.conv2d(active, next(tensors), stride=stride, padding=1)
            y = functional.conv2d(norm(y), next(tensors), padding=1)
            if y.shape[1] != kept.shape[1]:
                kept = functional.conv2d(kept, next(tensors), stride=stride)
            x = y + kept
    return norm(x), list(tensors)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("depth", "width"), [(10, 1), (16, 2)])
def test_output_is_that_of_the_plain_functions(depth, width, training):
    torch.manual_seed(0)
    encoder = WideResNet(depth=depth, width=width, slope=0.3).build(3).double().train(training)
    for part in encoder.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.weight, part.bias, part.running_var):
                nn.init.uniform_(tensor, 0.5, 2.0)
    images = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        expected, left = by_the_paper(encoder, images, (depth - 4) // 6, 0.3, training)
        torch.testing.assert_close(encoder(images)[-1], expected)
    assert not left


def test_finer_levels_are_sums_of_a_shortcut_and_only_the_last_is_activated():
    torch.manual_seed(0)
    encoder = WideResNet(depth=10, width=1, slope=0.0).build(3)
    first, second, last = encoder(torch.randn(4, 3, 16, 16))
    assert first.min() < 0
    assert second.min() < 0
    assert last.min() == 0


def test_kernels_are_normal_with_the_fan_of_the_outputs():
    torch.manual_seed(0)
    encoder = WideResNet(depth=16, width=4).build(3)
    for part in encoder.modules():
        if isinstance(part, nn.Conv2d) and part.weight.numel() > 5000:
            side = part.kernel_size[0]
            expected = math.sqrt(2 / (side * side * part.out_channels))
            assert part.weight.std().item() == pytest.approx(expected, rel=0.05)
            assert part.weight.abs().max() > 3 * expected  # not cut off, and not uniform
        if isinstance(part, nn.BatchNorm2d):
            assert part.momentum == 0.001


def test_running_statistics_move_by_a_thousandth_of_the_way():
    encoder = SMALL.build(3)
    images = torch.randn(8, 3, 8, 8)
    with torch.no_grad():
        mean = functional.conv2d(images, encoder.stem.weight, padding=1).mean(dim=(0, 2, 3))
        encoder(images)
    norm = next(part for part in encoder.modules() if isinstance(part, nn.BatchNorm2d))
    torch.testing.assert_close(norm.running_mean, 0.001 * mean)


def test_held_statistics_stay_to_the_bit():
    encoder = SMALL.build(3).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with batch_statistics(encoder, "batch"):
        encoder(torch.randn(4, 3, 8, 8))
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_every_parameter_learns():
    network = model(WideResNet(depth=16, width=1))
    predicted = network(torch.rand(4, 3, 8, 8), {"animal": torch.arange(4)})["animal"]
    predicted.square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in network.parameters())


def test_it_computes_in_bfloat16_nearly_the_same():
    torch.manual_seed(0)
    encoder, images = SMALL.build(3), torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        exact = encoder(images)[-1]
        with torch.autocast("cpu", torch.bfloat16):
            rough = encoder(images)[-1]
    assert rough.dtype == torch.bfloat16
    assert (rough.float() - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize(("depth", "nearest"), [(11, "10 or 16"), (26, "22 or 28"), (29, "28 or 34")])
def test_refuses_a_depth_that_has_no_whole_blocks(depth, nearest):
    with pytest.raises(ValidationError, match=f"depth={depth} is not 6 n \\+ 4.* take {nearest}"):
        WideResNet(depth=depth)


@pytest.mark.parametrize("fields", [{"depth": 4}, {"width": 0}, {"bn_momentum": 0.0}, {"slope": -0.1}, {"slope": 1.0}])
def test_refuses_values_out_of_range(fields):
    with pytest.raises(ValidationError):
        WideResNet(**fields)


def test_weights_of_an_encoder_come_from_its_file(tmp_path, monkeypatch):
    source = SMALL.build(3)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    monkeypatch.chdir(tmp_path)
    encoder = SMALL.replace(weights="w.safetensors")
    assert encoder.weights == tmp_path / "w.safetensors"  # a run outlives the working directory
    assert same(encoder.build(3), source)


@pytest.fixture
def run(tmp_path):
    """Leave behind what a run does: student and teacher, head and all."""
    student, teacher = model(SMALL, seed=1), model(SMALL, seed=2)
    folder = tmp_path / "run" / "checkpoints" / "last"
    save_checkpoint(folder, student=student, teacher=teacher, state={"step": 1}, optimizer=None)
    return tmp_path / "run", student, teacher


@pytest.mark.parametrize(
    ("path", "whose"),
    [
        (".", "teacher"),
        ("checkpoints/last", "teacher"),
        ("checkpoints/last/teacher.safetensors", "teacher"),
        ("checkpoints/last/student.safetensors", "student"),
    ],
)
def test_weights_of_a_run_come_without_its_heads(run, path, whose):
    folder, student, teacher = run
    fresh = model(SMALL, seed=3)
    loaded = model(SMALL.replace(weights=folder / path), seed=3)
    assert same(loaded.encoder, {"student": student, "teacher": teacher}[whose].encoder)
    assert same(loaded.heads, fresh.heads)


def test_a_run_read_back_needs_no_file(tmp_path):
    gone = SMALL.replace(weights=tmp_path / "gone")
    assert same(model(gone, seed=4, pretrained=False), model(SMALL, seed=4))


def damage(tensors, change):
    if change == "lacking":
        del tensors["last.0.weight"]
    elif change == "unknown":
        tensors["fc.weight"] = torch.zeros(2, 2)
    elif change == "shape":
        tensors["stem.weight"] = torch.zeros(16, 1, 3, 3)
    return tensors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("lacking", r"lacks 1 of its \d+ tensors, the first is 'last.0.weight'; set depth"),
        ("unknown", r"has 1 that it doesn't know, the first is 'fc.weight'"),
        ("shape", r"channel\(s\): it has 'stem.weight' of shape \(16, 1, 3, 3\) instead of \(16, 3, 3, 3\)"),
    ],
)
def test_refuses_weights_that_do_not_fit(tmp_path, change, message):
    save_file(damage(SMALL.build(3).state_dict(), change), tmp_path / "w.safetensors")
    with pytest.raises(RecipeError, match=message):
        SMALL.replace(weights=tmp_path / "w.safetensors").build(3)


def test_refuses_weights_of_another_depth_or_width_or_number_of_channels(run):
    for encoder, channels in ((WideResNet(depth=16, width=1), 3), (WideResNet(depth=10), 3), (SMALL, 1)):
        with pytest.raises(RecipeError, match=f"doesn't fit WideResNet.*{channels} channel"):
            encoder.replace(weights=run[0]).build(channels)


def test_refuses_what_is_no_file_of_weights(tmp_path, run):
    (tmp_path / "text.safetensors").write_text("not tensors")
    (tmp_path / "empty").mkdir()
    (run[0] / "checkpoints/last/teacher.safetensors").write_bytes(b"cut off")
    for path, message in (
        ("none.safetensors", "none.safetensors, but there is no such file; correct the path"),
        ("text.safetensors", "can't be read as safetensors"),
        ("empty", "takes a run's folder, .* but no usable checkpoint: .*empty holds no checkpoint"),
        ("run", "takes a run's folder, .*teacher.safetensors is missing or damaged"),
    ):
        with pytest.raises(RecipeError, match=message):
            SMALL.replace(weights=tmp_path / path).build(3)
