# SPDX-License-Identifier: Apache-2.0
"""Suites about class names of ImageNet: where in an image they come from, and what they mean.

WordNet decides what a name means, so that the tables under test do not judge themselves. Persons
are left out: ImageNet has three of them, by what they do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Event
from typing import ClassVar

import numpy as np

from mrmllm_ros.answering.mrmllm_answerer import MrMllmAnswerer
from mrmllm_ros.datasets.questions.vocabulary import COCO, is_person
from mrmllm_ros.evaluation.ablations import FULL
from mrmllm_ros.evaluation.average_precision import TrueObjects
from mrmllm_ros.evaluation.label_tables import (
    WORDNET,
    embedding_table,
    imagenet_synsets,
    string_table,
    wordnet_meaning,
    wordnet_table,
)
from mrmllm_ros.evaluation.name_pairs import MEASURES, NamePairs, name_pairs
from mrmllm_ros.evaluation.region_sources import (
    CROP,
    MAP,
    RANDOM_CROP,
    RANDOM_MAP,
    SOURCES,
    WHOLE_IMAGE,
    RegionImages,
    RegionNamer,
)
from mrmllm_ros.evaluation.statistics import Difference, MeanRatio, Ratio, Statistic
from mrmllm_ros.evaluation.suite_result import Progress, Suite, SuiteResult, per_scene
from mrmllm_ros.evaluation.wordnet import WordNet
from mrmllm_ros.model.label_knowledge import LabelKnowledge
from mrmllm_ros.model.label_table import OTHER_KINDS
from mrmllm_ros.model.language_model import LanguageModel
from mrmllm_ros.weights import locate

# Minimum (inclusive) and maximum (exclusive) area of a box, as a share of the image.
AREA_SHARES = {
    "below 1 %": (0.0, 0.01),
    "1 to 5 %": (0.01, 0.05),
    "5 to 20 %": (0.05, 0.2),
    "above 20 %": (0.2, np.inf),
    "all sizes": (0.0, np.inf),
}
# Controls that look at no image: a name drawn at random, and the name that is right most often.
CHANCE = "chance"
MAJORITY = "majority"
_COMPARED = (
    (CROP, MAP),
    (CROP, WHOLE_IMAGE),
    (CROP, RANDOM_CROP),
    (MAP, RANDOM_MAP),
)
_TOP = 5  # names
_SEED = 11

NO_TABLE = "no table (chance)"
STRINGS = "string match"
EMBEDDINGS = "static embeddings"
LANGUAGE_MODEL = "language model"
SHIPPED_TABLE = "string match and language model (shipped)"
# Below 1 where labels are kinds of each other: all kinds of a name count the same in this table.
WORDNET_TABLE = "WordNet (source of the truth)"

# The other kinds compete with the labels in the table, and are no labels of a detector.
VOCABULARIES: Mapping[str, tuple[str, ...]] = {
    "COCO": COCO,
    "COCO and other kinds": tuple(dict.fromkeys((*COCO, *OTHER_KINDS))),
}


class NamedRegionsSuite(Suite):
    """Share of true boxes with a name that means their label, by source of the names."""

    title = "share of labeled boxes with a name that means the label, by area of the box"
    variants = (FULL,)
    headline: ClassVar[Mapping[str, str]] = {
        "crop": f"all sizes: top name, {CROP}",
        "map": f"all sizes: top name, {MAP}",
    }

    def __init__(self, group: str, regions: RegionImages, namer: RegionNamer) -> None:
        """Create the suite.

        Args:
            group: Name of the set of images, for the name of the suite.
            regions: The images with their boxes.
            namer: Names the boxes.
        """
        self.name = f"names of regions, {group}"
        self._regions = regions
        self._namer = namer

    def evaluate(self, answerer: MrMllmAnswerer, variant: str, progress: Progress) -> SuiteResult:
        """See `Suite.evaluate`."""
        regions = self._regions
        meaning = wordnet_meaning(regions.labels)
        rows = {
            label: row
            for row, label in enumerate(regions.labels)
            if meaning[row].any() and not is_person(label)
        }
        named = _NamedObjects(len(regions.truth), meaning)
        for index, (image, truth) in enumerate(zip(regions.read(), regions.truth, strict=True)):
            chosen = _chosen(truth, rows)
            if len(chosen):
                objects = truth.objects.take(chosen)
                rng = np.random.default_rng((_SEED, index))
                named.add(
                    index,
                    np.array([rows[label] for label in objects.labels]),
                    objects.areas / np.prod(objects.resolution_wh),
                    self._namer.classify(image, objects.xyxy, rng),
                )
        for line in named.counts():
            progress(line)
        return SuiteResult(len(regions.truth), named.statistics())


def _chosen(truth: TrueObjects, rows: Mapping[str, int]) -> np.ndarray:
    """Indices of the objects with these labels that must be found."""
    known = np.array([label in rows for label in truth.objects.labels], bool)
    return np.flatnonzero(known & truth.counted)


class _NamedObjects:
    """Names of N objects, from each source.

    Args:
        images: Number of images.
        meaning: (V, C) bool, the class names that mean each label.
    """

    def __init__(self, images: int, meaning: np.ndarray) -> None:
        self._images = images
        self._meaning = meaning
        self._indices: list[int] = []  # of the image of each object
        self._rows: list[int] = []
        self._areas: list[float] = []
        self._right: dict[str, list[float]] = {source: [] for source in SOURCES}
        self._mass: dict[str, list[float]] = {source: [] for source in SOURCES}

    def add(
        self, index: int, rows: np.ndarray, areas: np.ndarray, names: Mapping[str, np.ndarray]
    ) -> None:
        """Add the objects of an image.

        Args:
            index: Index of the image.
            rows: (K,) rows of their labels.
            areas: (K,) areas as shares of the image.
            names: (K, C) probabilities of the class names, by source.
        """
        self._indices += [index] * len(rows)
        self._rows += rows.tolist()
        self._areas += areas.tolist()
        for source, probabilities in names.items():
            top = np.argsort(-probabilities, axis=1)[:, :_TOP]  # (K, 5)
            means = self._meaning[rows[:, None], top]
            mass = (np.take_along_axis(probabilities, top, 1) * means).sum(1)
            self._right[source] += means[:, 0].tolist()
            self._mass[source] += mass.tolist()

    def counts(self) -> list[str]:
        """Number of objects by size, as lines."""
        return [f"{size}: {self._of_size(size).sum()} objects" for size in AREA_SHARES]

    def statistics(self) -> dict[str, Statistic]:
        """Statistics over the images by size, source and measure."""
        statistics: dict[str, Statistic] = {}
        for size in AREA_SHARES:
            chosen = self._of_size(size)
            right = {source: self._mean(self._right[source], chosen) for source in SOURCES}
            for name, statistic in {**right, **self._controls(chosen)}.items():
                statistics[f"{size}: top name, {name}"] = statistic
            for one, other in _COMPARED:
                difference = Difference(right[one], right[other])
                statistics[f"{size}: top name, {one} minus {other}"] = difference
            for source in SOURCES:
                mass = self._mean(self._mass[source], chosen)
                statistics[f"{size}: top-{_TOP} mass, {source}"] = mass
        return statistics

    def _of_size(self, size: str) -> np.ndarray:
        """(N,) bool, the objects of a size."""
        low, high = AREA_SHARES[size]
        areas = np.array(self._areas, float)
        return (areas >= low) & (areas < high)

    def _controls(self, chosen: np.ndarray) -> dict[str, Statistic]:
        right = self._meaning[np.array(self._rows, np.int64)]  # (N, C)
        best = right[chosen].sum(0).argmax()
        return {
            CHANCE: self._mean(right.mean(1), chosen),
            MAJORITY: self._mean(right[:, best], chosen),
        }

    def _mean(self, values: Sequence[float], chosen: np.ndarray) -> Ratio:
        indices = np.array(self._indices, np.int64)[chosen]
        above = np.asarray(values, float)[chosen]
        return Ratio(
            per_scene(indices, above, self._images),
            per_scene(indices, np.ones(len(indices)), self._images),
        )


class LabelTablesSuite(Suite):
    """Rank of a name's label among all labels in each table `K(y|n)`, mean over labels.

    The statistics are over names in place of scenes.
    """

    title = "rank of the nearest label in WordNet, mean over labels; each name counts as a scene"
    variants = (FULL,)
    headline: ClassVar[Mapping[str, str]] = {
        "top_1": f"top-1, {SHIPPED_TABLE}",
        "mrr": f"MRR, {SHIPPED_TABLE}",
    }

    def __init__(
        self,
        knowledge: LabelKnowledge,
        language_model: LanguageModel,
        vocabulary: str,
        share_word: bool,
    ) -> None:
        """Create the suite.

        Args:
            knowledge: The language model's scores of labels.
            language_model: For the table of its token embeddings.
            vocabulary: Labels, from `VOCABULARIES`.
            share_word: Whether a name and its label have a word in common.
        """
        words = "a word" if share_word else "no word"
        self.name = f"names that share {words} with their label, {vocabulary}"
        self._knowledge = knowledge
        self._language_model = language_model
        self._labels = VOCABULARIES[vocabulary]
        self._share_word = share_word

    def evaluate(self, answerer: MrMllmAnswerer, variant: str, progress: Progress) -> SuiteResult:
        """See `Suite.evaluate`."""
        names = self._knowledge.names
        wordnet = WordNet(locate(WORDNET))
        pairs = name_pairs(self._labels, names, imagenet_synsets(), wordnet, self._share_word)
        progress(
            f"{len(pairs)} names of {len(np.unique(pairs.labels))} labels; without "
            f"{pairs.ambiguous} names with several nearest labels"
        )
        statistics: dict[str, Statistic] = {}
        ranks = {table: pairs.ranks(values) for table, values in self._tables().items()}
        for measure in MEASURES:
            means = {table: _label_mean(each[measure], pairs) for table, each in ranks.items()}
            for table, mean in means.items():
                statistics[f"{measure}, {table}"] = mean
            for table in (STRINGS, EMBEDDINGS, LANGUAGE_MODEL):
                difference = Difference(means[table], means[SHIPPED_TABLE])
                statistics[f"{measure}, {table} minus shipped"] = difference
        return SuiteResult(len(pairs), statistics)

    def _tables(self) -> dict[str, np.ndarray]:
        """(V, N) values of each table."""
        labels, names, knowledge = self._labels, self._knowledge.names, self._knowledge
        knowledge.learn(labels, Event())
        arguments = (labels, names, self._language_model)
        return {
            NO_TABLE: np.zeros((len(labels), len(names)), np.float32),
            STRINGS: string_table(*arguments).values,
            EMBEDDINGS: embedding_table(*arguments).values,
            LANGUAGE_MODEL: knowledge.language_model_table(labels).values,
            SHIPPED_TABLE: knowledge.table(labels).values,
            WORDNET_TABLE: wordnet_table(*arguments).values,
        }


def _label_mean(values: np.ndarray, pairs: NamePairs) -> MeanRatio:
    """Mean over labels of the mean over the names of each: values are (P,)."""
    members = pairs.labels[:, None] == np.unique(pairs.labels)  # (P, K)
    return MeanRatio(members * values[:, None], members)
