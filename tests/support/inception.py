"""An Inception-v3 of random weights, in the files that users have."""

import io

import torch

from tests.support.fidelity import fidelity


def random_inception(seed=0):
    """torch-fidelity's own network; features of a picture differ, and are not all 0."""
    kind = fidelity("feature_extractor_inceptionv3").FeatureExtractorInceptionV3

    class Random(kind):
        def load_state_dict(self, state_dict, strict=True, assign=False):
            """It has none to load."""

    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    torch.manual_seed(seed)
    network = Random("random", ["2048"], feature_extractor_weights_path=nothing)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):  # as large going out as coming in
            torch.nn.init.kaiming_normal_(module.weight)
    return network
