# SPDX-License-Identifier: Apache-2.0
"""Other judges of what class names mean as labels, to compare the language model with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch.nn.functional import normalize

from mrmllm_ros.model.label_table import OTHER_KINDS, LabelTable, string_matches
from mrmllm_ros.model.language_model import LanguageModel

# Makes the table of labels and names.
TableFactory = Callable[[Sequence[str], Sequence[str], LanguageModel], LabelTable]

_TEMPERATURE = 0.1  # of cosine similarities


def string_table(
    labels: Sequence[str], names: Sequence[str], language_model: LanguageModel
) -> LabelTable:
    """Names that end with a label."""
    return LabelTable(tuple(labels), string_matches(labels, names).astype(np.float32))


def embedding_table(
    labels: Sequence[str], names: Sequence[str], language_model: LanguageModel
) -> LabelTable:
    """String matches, averaged with the similarity of the language model's token embeddings."""
    kinds = tuple(dict.fromkeys((*labels, *OTHER_KINDS)))
    first = [name.split(",")[0] for name in names]
    of_kinds, of_names = (
        normalize(language_model.embed_texts(texts).float(), dim=1) for texts in (kinds, first)
    )
    shares = (of_kinds @ of_names.T / _TEMPERATURE).softmax(0)[: len(labels)]
    values = (string_matches(labels, names) + shares.cpu().numpy()) / 2
    return LabelTable(tuple(labels), values.astype(np.float32))
