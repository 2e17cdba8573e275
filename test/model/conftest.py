# SPDX-License-Identifier: Apache-2.0
from model_fixtures import (  # noqa: F401
    backbones,
    cache,
    make_answerer,
    make_model,
    tiny_backbones,
    tiny_language_model,
    visual_encoder,
)
