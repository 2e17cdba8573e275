# SPDX-License-Identifier: Apache-2.0
from model_fixtures import (  # noqa: F401
    backbones,
    make_answerer,
    make_model,
    tiny_backbones,
    visual_encoder,
)
