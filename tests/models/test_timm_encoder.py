import pytest
import timm
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from ssmtl.errors import RecipeError
from ssmtl.models.timm_encoder import TimmEncoder


@pytest.mark.parametrize(
    ("name", "channels", "strides"),
    [
        ("resnet18", (64, 64, 128, 256, 512), (2, 4, 8, 16, 32)),
        ("convnext_atto", (40, 80, 160, 320), (4, 8, 16, 32)),
        ("swin_tiny_patch4_window7_224", (96, 192, 384, 768), (4, 8, 16, 32)),  # its own maps are channels last
    ],
)
def test_maps_are_what_the_spec_says(name, channels, strides):
    encoder = TimmEncoder(name).build(1).eval()
    assert encoder.spec == (channels, strides, 0)
    with torch.no_grad():
        maps = encoder(torch.rand(1, 1, 224, 224))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (c, 224 // s, 224 // s) for c, s in zip(channels, strides, strict=True)
    ]


@pytest.mark.parametrize(
    ("output_stride", "strides"),
    [(8, (2, 4, 8, 8, 8)), (16, (2, 4, 8, 16, 16)), (32, (2, 4, 8, 16, 32)), (None, (2, 4, 8, 16, 32))],
)
@pytest.mark.parametrize("name", ["test_resnet", "resnet50"])
def test_output_stride_keeps_the_coarsest_levels_finer(name, output_stride, strides):
    encoder = TimmEncoder(name, output_stride=output_stride).build(3).eval()
    assert encoder.spec.strides == strides
    with torch.no_grad():
        maps = encoder(torch.rand(1, 3, 64, 64))
    assert [tuple(m.shape[-2:]) for m in maps] == [(64 // stride, 64 // stride) for stride in strides]


def test_an_output_stride_of_32_asks_nothing_of_a_model_that_ends_there():
    assert TimmEncoder("swin_tiny_patch4_window7_224", output_stride=32).build(3).spec.strides == (4, 8, 16, 32)
    with pytest.raises(RecipeError, match="'test_vit' has features down to stride 16, not 32; leave out output_stride"):
        TimmEncoder("test_vit", output_stride=32).build(3)


def test_file_of_weights_is_read_and_adapted_to_gray(tmp_path):
    torch.manual_seed(1)
    source = timm.create_model("resnet18")
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    state = torch.get_rng_state()
    encoder = TimmEncoder("resnet18", weights=tmp_path / "w.safetensors").build(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(encoder.backbone.layer4[0].conv1.weight, source.layer4[0].conv1.weight)
    torch.testing.assert_close(encoder.backbone.conv1.weight, source.conv1.weight.sum(dim=1, keepdim=True))


def test_a_run_read_back_needs_neither_file_nor_network(tmp_path):
    TimmEncoder("resnet18", weights=tmp_path / "gone.pth").build(1, pretrained=False)
    TimmEncoder("resnet18", pretrained=True).build(1, pretrained=False)


def test_refuses_a_file_of_another_model(tmp_path):
    save_file({"a": torch.zeros(2, 2)}, tmp_path / "w.safetensors")
    with pytest.raises(RecipeError, match=r"lacks weights for \d+ layer.* the first is 'conv1.weight'"):
        TimmEncoder("resnet18", weights=tmp_path / "w.safetensors").build(3)


def test_refuses_a_missing_file(tmp_path):
    with pytest.raises(RecipeError, match="there is no such file; correct the path"):
        TimmEncoder("resnet18", weights=tmp_path / "none.pth").build(3)


def test_refuses_two_origins_of_weights(tmp_path):
    with pytest.raises(ValidationError, match="either pretrained=True or weights"):
        TimmEncoder("resnet18", pretrained=True, weights=tmp_path / "w.pth")


def test_unknown_name_gets_the_nearest():
    with pytest.raises(RecipeError, match="no model 'resnet81'; did you mean 'resnet"):
        TimmEncoder("resnet81").build(3)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (TimmEncoder("vit_tiny_patch16_224", output_stride=16), "with output_stride=16 as an encoder"),
        (TimmEncoder("resnet18.nope"), "Invalid pretrained tag"),
    ],
)
def test_what_timm_cannot_build_is_refused_in_a_sentence(encoder, message):
    with pytest.raises(RecipeError, match=message):
        encoder.build(3)


def test_failed_download_says_so(monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", offline)
    with pytest.raises(RecipeError, match=r"'resnet18' .* with downloaded weights: OSError no route to host"):
        TimmEncoder("resnet18", pretrained=True).build(3)
