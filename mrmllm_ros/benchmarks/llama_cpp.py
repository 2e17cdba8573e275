# SPDX-License-Identifier: Apache-2.0
"""Plain generation by llama.cpp, for comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mrmllm_ros.answering.answerer import TextListener
from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError


class LlamaCpp:
    """A GGUF model in llama.cpp, with greedy decoding."""

    def __init__(self, path: Path, context: int, threads: int) -> None:
        """Load the model.

        Args:
            path: GGUF file.
            context: Maximum number of tokens.
            threads: Number of CPU threads.

        Raises:
            BenchmarkError: If llama_cpp is not installed, or cannot load the file.
        """
        try:
            import llama_cpp
        except ImportError as error:
            raise BenchmarkError(
                f"llama.cpp is not available ({error}); pip install llama-cpp-python, or measure "
                "without --gguf"
            ) from error
        try:
            self._model: Any = llama_cpp.Llama(
                str(path), n_ctx=context, n_threads=threads, n_threads_batch=threads, verbose=False
            )
        except (OSError, ValueError) as error:
            raise BenchmarkError(f"llama.cpp cannot load {path}: {error}") from error

    def prefill(self, prompt: list[int]) -> int:
        """Process a prompt from its start; returns the first token of the answer."""
        self._model.reset()
        self._model.eval(prompt)
        return self._best()

    def generate(self, prompt: list[int], tokens: int, listener: TextListener) -> None:
        """Generate an answer.

        Args:
            prompt: Tokens of the prompt.
            tokens: Number of tokens to generate.
            listener: Asked after each token whether to stop.
        """
        token = self.prefill(prompt)
        for _ in range(tokens - 1):
            if listener.should_stop():
                return
            self._model.eval([token])
            token = self._best()
        listener.should_stop()

    def _best(self) -> int:
        return int(np.argmax(self._model.scores[self._model.n_tokens - 1]))
