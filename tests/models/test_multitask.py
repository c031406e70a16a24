import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from timm.layers import BatchNormAct2d
from torch import nn

from ssmtl.component import Component
from ssmtl.errors import RecipeError
from ssmtl.models import multitask
from ssmtl.models.base import Head
from ssmtl.models.heads import LinearHead, SmpUnetDecoder
from ssmtl.models.multimix_unet import MultiMixDecoder, MultiMixEncoder
from ssmtl.models.multitask import Model, batch_statistics
from ssmtl.models.saliency_bridge import SaliencyBridge, saliency
from ssmtl.models.timm_encoder import TimmEncoder

SIDE = 16


def some(n, channels=1):
    return torch.rand(n, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(n))


def rows(*indices):
    return torch.tensor(indices, dtype=torch.int64)


def test_each_head_sees_its_own_rows_in_the_order_given(build):
    model, images = build(), some(6)
    with torch.no_grad():
        every = model(images, {"diagnosis": torch.arange(6), "lungs": torch.arange(6)})
        own = model(images, {"diagnosis": rows(5, 0, 2), "lungs": rows(3, 4)})
    torch.testing.assert_close(own["diagnosis"], every["diagnosis"][[5, 0, 2]])
    torch.testing.assert_close(own["lungs"], every["lungs"][[3, 4]])


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_chunks_of_rows_change_nothing(build, data):
    n = data.draw(st.integers(1, 7))
    index = st.lists(st.integers(0, n - 1), max_size=7)
    asked = {"diagnosis": rows(*data.draw(index)), "lungs": rows(*data.draw(index))}
    model, images = build(), some(n)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        whole = model(images, asked)
        patch.setattr(multitask, "PIXELS_AT_ONCE", data.draw(st.integers(1, 4)) * SIDE * SIDE)
        chunked = model(images, asked)
    for name in asked:
        torch.testing.assert_close(chunked[name], whole[name])


def test_chunks_bound_what_the_encoder_sees_and_skip_rows_that_nobody_asked_for(build, monkeypatch):
    model, seen = build(bridge=False), []
    model.encoder.register_forward_hook(lambda _, x, y: seen.append(len(x[0])))
    monkeypatch.setattr(multitask, "PIXELS_AT_ONCE", 2 * SIDE * SIDE)
    model(some(7), {"diagnosis": rows(0, 1, 6), "lungs": rows(1)})
    assert seen == [2, 1]


def test_bridge_hands_over_the_normalized_image_and_its_saliency(build):
    model, images, seen = build(), some(4), []
    model.heads["lungs"].register_forward_hook(lambda _, x, y: seen.append(x[2]))
    model(images, {"lungs": rows(1, 3)})
    normalized = (images[[1, 3]] - 0.5) / 0.5
    maps = saliency(model.encoder, model.heads["diagnosis"], normalized)
    torch.testing.assert_close(seen[0], torch.cat([normalized, maps], dim=1))


def test_bridge_runs_over_the_decoders_rows_only(build):
    model, seen = build(), []
    model.heads["diagnosis"].register_forward_hook(lambda _, x, y: seen.append(len(y)))
    model(some(5), {"diagnosis": rows(0, 1, 2), "lungs": rows(3, 4)})
    assert sorted(seen) == [2, 3]


def test_no_bridge_no_extra(build):
    model, seen = build(bridge=False), []
    model.heads["lungs"].register_forward_hook(lambda _, x, y: seen.append(x[2]))
    model(some(2), {"lungs": rows(0)})
    assert seen == [None]


@pytest.mark.parametrize("n", [0, 3])
def test_a_task_without_rows_stays_connected_to_every_parameter(build, n):
    model = build().train()
    out = model(some(n), {"diagnosis": rows(), "lungs": rows()})
    assert out["diagnosis"].shape == (0, 2)
    assert out["lungs"].shape == (0, 1, SIDE, SIDE)
    sum(value.sum() for value in out.values()).backward()
    assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in model.parameters())


def test_batch_normalization_gets_two_rows_and_one_comes_back(tasks):
    torch.manual_seed(0)
    lungs = tasks[1].replace(head=SmpUnetDecoder(channels=(8, 8, 8, 8, 8)))
    bridge = SaliencyBridge("diagnosis", "lungs")
    model = Model(TimmEncoder("resnet18"), bridge=bridge).build([tasks[0].replace(head=LinearHead()), lungs])
    seen = []
    model.heads["lungs"].register_forward_hook(lambda _, x, y: seen.append([len(part) for part in (y, x[2])]))
    assert model.has_batch_statistics
    images = torch.rand(3, 1, 32, 32)
    out = model.train()(images, {"diagnosis": rows(1), "lungs": rows(2)})
    none = model(images, {"lungs": rows()})
    assert seen == [[2, 2], [2, 2]]
    assert out["lungs"].shape == (1, 1, 32, 32)
    assert none["lungs"].shape == (0, 1, 32, 32)
    loss = out["lungs"].square().mean() + out["diagnosis"].square().mean() + none["lungs"].sum()
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("count", [0, 1])
def test_rows_that_were_made_up_teach_no_running_statistics(tasks, count):
    """One image twice has no variance, and no image is no sample: both would spoil what evaluation goes by."""
    torch.manual_seed(0)
    head = SmpUnetDecoder(channels=(8, 8, 8, 8, 8))
    model = Model(TimmEncoder("resnet18")).build([tasks[0].replace(head=LinearHead()), tasks[1].replace(head=head)])

    def statistics():
        return {name: value.clone() for name, value in model.heads["lungs"].named_buffers()}

    before, images = statistics(), torch.rand(3, 1, 32, 32)
    model.train()(images, {"diagnosis": rows(0, 1, 2), "lungs": rows(*range(count))})
    assert all(torch.equal(value, before[name]) for name, value in statistics().items())
    model(images, {"diagnosis": rows(0), "lungs": rows(0, 1)})
    assert not all(torch.equal(value, before[name]) for name, value in statistics().items())
    assert model.heads["lungs"].training


def test_instance_norm_has_no_batch_statistics(build):
    assert not build().has_batch_statistics


@pytest.mark.parametrize(
    ("normalize", "channels", "expected"),
    [
        ("symmetric", 1, [0.5]),
        ("none", 1, [0.75]),
        ("imagenet", 3, [(0.75 - m) / s for m, s in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)]),
    ],
)
def test_normalize(build, normalize, channels, expected):
    model, seen = build(bridge=False, normalize=normalize, channels=channels), []
    model.encoder.register_forward_hook(lambda _, x, y: seen.append(x[0]))
    model(torch.full((1, channels, SIDE, SIDE), 0.75), {"diagnosis": rows(0)})
    torch.testing.assert_close(seen[0].mean(dim=(0, 2, 3)), torch.tensor(expected))


def test_state_holds_weights_only(build):
    assert not any(name in ("mean", "std") for name in build().state_dict())


def test_survives_json():
    model = Model(MultiMixEncoder(dropout=0.5), bridge=SaliencyBridge("a", "b", norm="minmax"), channels=3)
    again = Model.model_validate_json(model.model_dump_json())
    assert again == model
    assert isinstance(again.encoder, MultiMixEncoder)
    assert isinstance(MultiMixDecoder(), Head)
    assert issubclass(Head, Component)


def test_refuses_imagenet_statistics_for_gray_images():
    with pytest.raises(ValidationError, match="statistics of 3 channels, but the model has 1"):
        Model(MultiMixEncoder(), normalize="imagenet")


def test_refuses_images_of_other_channels_and_unknown_tasks(build):
    model = build()
    with pytest.raises(RecipeError, match=r"1 channel.* and got 3"):
        model(some(2, channels=3), {"lungs": rows(0)})
    with pytest.raises(RecipeError, match="no task 'lung'; did you mean 'lungs'"):
        model(some(2), {"lung": rows(0)})


@pytest.mark.parametrize(
    ("bridge", "message"),
    [
        (SaliencyBridge("diagnosys", "lungs"), "did you mean 'diagnosis'"),
        (SaliencyBridge("lungs", "lungs"), "leads from 'lungs' to itself"),
        (SaliencyBridge("lungs", "diagnosis"), "a bridge hands maps to LinearHead"),
    ],
)
def test_refuses_a_bridge_that_leads_nowhere(tasks, bridge, message):
    with pytest.raises(RecipeError, match=message):
        Model(MultiMixEncoder(), bridge=bridge).build(tasks)


@pytest.mark.parametrize("name", ["train", "training", "keys", "T_destination"])
def test_refuses_names_that_pytorch_uses(tasks, name):
    with pytest.raises(RecipeError, match=f"can't be named '{name}'"):
        Model(MultiMixEncoder()).build([tasks[0].replace(name=name)])


def test_refuses_two_tasks_of_one_name(tasks):
    with pytest.raises(RecipeError, match="two tasks are named 'lungs'"):
        Model(MultiMixEncoder()).build([tasks[0].replace(name="lungs"), tasks[1]])


@pytest.fixture
def normed():
    torch.manual_seed(0)
    return nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5), nn.BatchNorm1d(3, track_running_stats=False)).train()


def test_statistics_update(normed):
    x = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 7.0]])
    with batch_statistics(normed, "update"):
        normed(x)
    # Momentum 0.1 from 0: a tenth of the means 2, 2, 5.
    torch.testing.assert_close(normed[0].running_mean, torch.tensor([0.2, 0.2, 0.5]))
    assert normed[0].num_batches_tracked == 1


def test_statistics_of_the_batch_leave_the_running_ones_even_beside_infinity(normed):
    x = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 7.0]])
    before = {name: value.clone() for name, value in normed.state_dict().items()}
    with batch_statistics(normed.eval(), "batch"):
        out = normed[0](x)
        normed[0](x * float("inf"))
        assert not normed[1].training
    torch.testing.assert_close(out, torch.tensor([[-1.0, 0.0, -1.0], [1.0, 0.0, 1.0]]), rtol=1e-4, atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in normed.state_dict().items())
    assert [(part.training, getattr(part, "track_running_stats", None)) for part in normed] == [
        (False, True), (False, None), (False, False),
    ]  # fmt: skip


@pytest.mark.parametrize("training", [True, False])
def test_held_statistics_are_used_as_before_and_stay(normed, training):
    x = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 7.0]])
    norm = normed[0].train(training)
    norm.running_mean.fill_(2.0)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    with batch_statistics(norm, "hold"):
        held = norm(x)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    assert (norm.training, norm.track_running_stats) == (training, True)
    torch.testing.assert_close(held, norm(x))


def test_running_statistics_leave_dropout_on(normed):
    x = torch.ones(64, 3)
    with batch_statistics(normed, "eval"):
        torch.testing.assert_close(normed[0](x), x, rtol=1e-4, atol=1e-4)
        assert (normed[:2](x) == 0).any()
    assert normed[0].num_batches_tracked == 0


def test_statistics_are_as_before_after_an_exception(normed):
    with pytest.raises(ValueError, match="2D or 3D"), batch_statistics(normed, "eval"):
        normed(torch.ones(1))
    assert all(part.training for part in normed.modules())


def test_timms_own_batch_normalization_obeys():
    norm = BatchNormAct2d(2).train()
    with batch_statistics(nn.Sequential(norm), "batch"):
        norm(torch.rand(4, 2, 3, 3))
    assert norm.num_batches_tracked == 0
    assert torch.equal(norm.running_mean, torch.zeros(2))


@pytest.mark.parametrize("n", [0, 1, 3])
def test_feature_maps_may_be_changed_on_their_way_to_the_heads(build, monkeypatch, n):
    model, images = build(bridge=False), some(3)
    monkeypatch.setattr(multitask, "PIXELS_AT_ONCE", 2 * SIDE * SIDE)
    asked = {"diagnosis": torch.arange(n), "lungs": torch.arange(n)}
    with torch.no_grad():
        black = model(torch.zeros_like(images), asked)
        blanked = model(images, asked, lambda maps: [0 * level for level in maps])
        again = model(torch.zeros_like(images), asked, lambda maps: [0 * level for level in maps])
        kept = model(images, asked, lambda maps: maps)
        plain = model(images, asked)
    for name in asked:
        torch.testing.assert_close(kept[name], plain[name])
        torch.testing.assert_close(blanked[name], again[name])
        assert blanked[name].shape == black[name].shape
        assert n == 0 or not torch.allclose(blanked[name], plain[name])
