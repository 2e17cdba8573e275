# SPDX-License-Identifier: Apache-2.0
"""Load models by name: embedded models, folders, repositories of the Hugging Face hub."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mrmllm_ros.environment import expand
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.weights.catalog import CATALOG
from mrmllm_ros.weights.download import digest
from mrmllm_ros.weights.store import locate


class ShapeMismatchError(ValueError):
    """Shapes of weights in a file differ from the configuration.

    Attributes:
        shapes: Shape in the file and expected shape, by name of the weights.
    """

    def __init__(self, shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
        name, (stored, expected) = next(iter(shapes.items()))
        super().__init__(
            f"its weights do not fit its configuration: {name} has the shape {stored}, expected "
            f"{expected}"
        )
        self.shapes = shapes


@contextmanager
def loading(kind: str, model: str, parameter: str, error: type[MrmllmError]) -> Iterator[None]:
    """Convert every exception while a model is loaded to one that names model and parameter.

    Args:
        kind: Kind of model, such as `language model`.
        model: Name or path of the model.
        parameter: Parameter that names it.
        error: Type of the exception to raise.

    Raises:
        error: If the model cannot be loaded.
        MrmllmError: Exceptions of the package, unchanged.
    """
    try:
        yield
    except MrmllmError:
        raise
    except Exception as failure:
        # Missing, damaged and foreign models raise different exceptions.
        reason = " ".join(str(failure).split()).rstrip(".")
        raise error(
            f"the {kind} {model!r} cannot be loaded: {reason}. Name another with the parameter "
            f"{parameter}"
        ) from failure


def resolve(kind: str, model: str, parameter: str, error: type[MrmllmError]) -> str:
    """Find the source of a model.

    Args:
        kind: Kind of model, such as `language model`.
        model: Name or path of the model.
        parameter: Parameter that names it.
        error: Type of the exception to raise.

    Returns:
        Folder, or repository of the Hugging Face hub.

    Raises:
        WeightsError: If an embedded model is missing or damaged.
        error: If it is an embedded model of another kind, or the folder does not exist.
    """
    if model in CATALOG:
        if CATALOG[model].kind != kind:
            raise error(f"{parameter}: {model} is a {CATALOG[model].kind}")
        return str(locate(model))
    path = expand(model)
    looks_like_path = model.startswith((".", "/", "~"))
    if looks_like_path and not path.is_dir():
        raise error(f"{parameter}: the folder {path} does not exist")
    return str(path) if path.is_dir() else model


def safe_options(source: str) -> dict[str, Any]:
    """Options of `from_pretrained` that never run code of a model.

    Args:
        source: Source from `resolve`; the hub is not asked for the files of a folder.
    """
    return {"local_files_only": Path(source).is_dir(), "trust_remote_code": False}


def load_weights(auto: Any, source: str, besides: str | None = None, **options: Any) -> Any:
    """Load a model of transformers from safetensors; pickled weights are never read.

    transformers shows its progress bars only in a terminal.

    Args:
        auto: Class that loads the model, such as `AutoModel`.
        source: Source from `resolve`.
        besides: Substring of the names of weights that may be missing.
        options: Options of `from_pretrained`.

    Raises:
        ValueError: If weights are missing; transformers would initialize them randomly.
        ShapeMismatchError: If shapes of weights differ from the configuration.
        Exception: Other exceptions of transformers.
    """
    import transformers

    if not sys.stderr.isatty():
        transformers.utils.logging.disable_progress_bar()
    model, report = auto.from_pretrained(
        source,
        use_safetensors=True,
        output_loading_info=True,
        # Reported below, with their shapes.
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


def fingerprint(model: str) -> str:
    """Digest of the weights of a local model, or name and revision of another model.

    Args:
        model: Name or path of the model.

    Raises:
        OSError: If a file cannot be read.
    """
    path = expand(model)
    if model in CATALOG or not path.exists():
        return f"{model} {revision(model)}"
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return " ".join(f"{file.name} {digest(file)}" for file in files)


def revision(model: str) -> str:
    """Revision of a loaded model: of the catalog, or the commit of a repository of the hub.

    Args:
        model: Name or path of the model.

    Returns:
        The revision; empty if unknown, as for folders.
    """
    if model in CATALOG:
        return CATALOG[model].revision
    if expand(model).exists():
        return ""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(model, "config.json")
    return Path(config).parent.name if isinstance(config, str) else ""
