# SPDX-License-Identifier: Apache-2.0
"""Quantized copies of language models, made once and kept on disk."""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from transformers import PreTrainedModel

from mrmllm_ros.atomic_files import move_into_place
from mrmllm_ros.environment import cache_folder
from mrmllm_ros.model.int8_language_model import Int8CausalLM, write_int8

# Version of the graphs; copies of other versions are not read.
_VERSION = "1"


def load_int8(
    name: str, key: str, threads: int, load: Callable[[], PreTrainedModel]
) -> Int8CausalLM:
    """Load the int8 copy of a language model; make it if it is missing or damaged.

    Args:
        name: Name of the language model, for the folder and the log.
        key: What the copy depends on, such as the revision of the weights.
        threads: Number of CPU threads; 0 for the default.
        load: Loads the language model in float32, with merged adapters.
    """
    digest = hashlib.sha256(f"{_VERSION}\n{key}".encode()).hexdigest()[:16]
    folder = cache_folder() / "int8" / f"{name}-{digest}"
    if folder.exists():
        try:
            return Int8CausalLM(folder, threads)
        except Exception as error:
            # Missing, truncated and damaged files raise different exceptions.
            _log().warning("%s is damaged and is made again: %s", folder, error)
            shutil.rmtree(folder)
    _write(name, folder, load)
    return Int8CausalLM(folder, threads)


def _write(name: str, folder: Path, load: Callable[[], PreTrainedModel]) -> None:
    _log().info("quantizing %s to int8, once", name)
    started_s = time.monotonic()
    # Several processes may do so at the same time.
    unfinished = folder.with_name(f".{uuid.uuid4().hex}")
    unfinished.mkdir(parents=True)
    try:
        write_int8(load(), unfinished)
        if not folder.exists():
            move_into_place(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    _log().info("quantized %s in %.0f s: %s", name, time.monotonic() - started_s, folder)


def _log() -> logging.Logger:
    return logging.getLogger(__name__)
