# SPDX-License-Identifier: Apache-2.0
from rendered_fixtures import color_backbones, write_scenes  # noqa: F401
from training_fixtures import (  # noqa: F401
    load_tiny,
    make_answerer,
    make_batches,
    tiny,
)
