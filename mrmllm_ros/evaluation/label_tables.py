# SPDX-License-Identifier: Apache-2.0
"""Label tables of other sources, to compare the language model with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from timm.data import ImageNetInfo
from torch.nn.functional import normalize

from mrmllm_ros.evaluation.wordnet import WordNet
from mrmllm_ros.model.label_table import (
    OTHER_KINDS,
    ContinuationScores,
    LabelTable,
    string_matches,
)
from mrmllm_ros.model.language_model import LanguageModel
from mrmllm_ros.weights import locate

# Makes the table of labels and names.
TableFactory = Callable[[Sequence[str], Sequence[str], LanguageModel], LabelTable]

WORDNET = "wordnet"  # sample data

_TEMPERATURE = 0.1  # of cosine similarities


def string_table(
    labels: Sequence[str], names: Sequence[str], language_model: LanguageModel
) -> LabelTable:
    """Names that end with a label."""
    return LabelTable.of_scores(labels, ContinuationScores.empty(names))


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


def wordnet_table(
    labels: Sequence[str], names: Sequence[str], language_model: LanguageModel
) -> LabelTable:
    """ImageNet's classes that WordNet calls a kind of the label.

    Raises:
        WeightsError: If WordNet is missing; names the command that fetches it.
    """
    return LabelTable(tuple(labels), wordnet_meaning(labels).astype(np.float32))


def wordnet_meaning(labels: Sequence[str]) -> np.ndarray:
    """Find ImageNet's classes that WordNet calls a kind of a label, in one of its senses.

    Returns:
        (V, 1000) bool.

    Raises:
        WeightsError: If WordNet is missing; names the command that fetches it.
    """
    wordnet = WordNet(locate(WORDNET))
    kinds = [wordnet.kinds(synset) for synset in imagenet_synsets()]
    values = [[not own.isdisjoint(wordnet.senses(label)) for own in kinds] for label in labels]
    return np.array(values, bool).reshape(len(labels), len(kinds))


def imagenet_synsets() -> tuple[str, ...]:
    """Ids in WordNet of ImageNet's 1000 classes."""
    return tuple(name[1:] for name in ImageNetInfo().label_names())
