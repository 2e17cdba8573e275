# SPDX-License-Identifier: Apache-2.0
"""Models as users name them: embedded ones, folders, repositories of the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache

from mrmllm_ros.environment import expand
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.weights.catalog import CATALOG
from mrmllm_ros.weights.store import locate


class ShapeMismatchError(ValueError):
    """Weights in a file have other shapes than the configuration beside them asks for.

    Attributes:
        shapes: By name of the weights, their shape in the file and the one asked for.
    """

    def __init__(self, shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
        name, (stored, expected) = next(iter(shapes.items()))
        super().__init__(
            f"its weights do not fit its configuration: {name} has the shape {stored}, expected "
            f"{expected}"
        )
        self.shapes = shapes


def resolve(model: str, kind: str, parameter: str, error: type[MrmllmError]) -> str:
    """Where to load a model from.

    Args:
        model: What the user named.
        kind: The kind of embedded model that it may be.
        parameter: The parameter that named it.
        error: What to raise.

    Returns:
        A folder, or the name as it is.

    Raises:
        WeightsError: If an embedded model is missing or damaged.
        error: If it is an embedded model of another kind, or a path without a folder.
    """
    if model in CATALOG:
        if CATALOG[model].kind != kind:
            raise error(f"{parameter}: {model} is a {CATALOG[model].kind}")
        return str(locate(model))
    path = expand(model)
    looks_like_path = model.startswith((".", "/", "~"))
    if looks_like_path and not path.is_dir():
        raise error(f"{parameter}: there is no folder {path}")
    return str(path) if path.is_dir() else model


def load_weights(auto: Any, source: str, besides: str | None = None, **options: Any) -> Any:
    """Load a model of transformers; pickled weights are never read.

    Args:
        auto: Loads it, such as `AutoModel`.
        source: What `resolve` gave.
        besides: Part of the names of weights that are not needed.
        options: For `from_pretrained`.

    Raises:
        ValueError: If weights are missing, in whose place transformers would put random ones.
        ShapeMismatchError: If weights have other shapes than the configuration asks for.
        Exception: Whatever else transformers raises where it cannot load it.
    """
    model, report = auto.from_pretrained(
        source,
        use_safetensors=True,
        output_loading_info=True,
        # They are reported below, with their shapes.
        ignore_mismatched_sizes=True,
        **options,
    )
    if mismatched := report["mismatched_keys"]:
        raise ShapeMismatchError(
            {name: (tuple(stored), tuple(asked)) for name, stored, asked in sorted(mismatched)}
        )
    missing = sorted(
        name for name in report["missing_keys"] if besides is None or besides not in name
    )
    if missing:
        raise ValueError(f"it has no weights for {missing[0]} and {len(missing) - 1} others")
    return model


def revision(model: str) -> str:
    """State of a loaded model's weights: of an embedded one, or the commit of one of the hub.

    Args:
        model: What the user named.

    Returns:
        Empty where it is unknown, as of a folder.
    """
    if model in CATALOG:
        return CATALOG[model].revision
    if expand(model).exists():
        return ""
    config = try_to_load_from_cache(model, "config.json")
    return Path(config).parent.name if isinstance(config, str) else ""
