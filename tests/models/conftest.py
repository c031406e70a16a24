"""Small models for the tests."""

import pytest
import torch

from ssmtl.models.heads import LinearHead
from ssmtl.models.multimix_unet import MultiMixDecoder, MultiMixEncoder
from ssmtl.models.multitask import Model, MultiTaskModel
from ssmtl.models.saliency_bridge import SaliencyBridge
from ssmtl_tasks.classification import Classification
from ssmtl_tasks.segmentation import Segmentation


@pytest.fixture
def tasks():
    return [
        Classification("diagnosis", classes=("normal", "pneumonia"), head=LinearHead(max_pool=True)),
        Segmentation("lungs", classes=("lung",), head=MultiMixDecoder()),
    ]


@pytest.fixture
def build(tasks):
    """Build a narrow MultiMix network with fixed weights, in evaluation mode."""

    def make(bridge: bool = True, **fields) -> MultiTaskModel:
        torch.manual_seed(0)
        link = SaliencyBridge("diagnosis", "lungs") if bridge else None
        return Model(MultiMixEncoder(channels=(4, 6, 8)), bridge=link, **fields).build(tasks).eval()

    return make
