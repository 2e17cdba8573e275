# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mrmllm_ros.evaluation.label_tables import embedding_table, string_table

LABELS = ("bus", "dog", "apple")
NAMES = ("minibus", "police dog, German shepherd", "bus, autobus", "pineapple, ananas")


@pytest.mark.parametrize("make", [string_table, embedding_table])
def test_a_table_has_a_row_for_each_label_and_a_column_for_each_name(make, language_model):
    table = make(LABELS, NAMES, language_model)
    assert table.labels == LABELS
    assert table.values.shape == (3, 4)
    assert table.values.dtype == np.float32
    assert (table.values >= 0).all()
    assert (table.values.sum(0) <= 1).all()


def test_the_table_of_strings_has_names_that_end_with_a_label(language_model):
    table = string_table(LABELS, NAMES, language_model)
    assert table.values.tolist() == [[0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]


def test_embeddings_know_names_that_contain_other_names(language_model):
    [bus, dog, apple] = embedding_table(LABELS, NAMES, language_model).values
    # Averaged with string matches.
    assert bus[2] > 0.5
    assert dog[1] >= 0.5
    assert 0 < bus[0] < 0.5
    assert apple[3] > dog[3]
