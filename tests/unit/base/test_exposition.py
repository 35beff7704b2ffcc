"""Prometheus's text format, read by Prometheus's own parser."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from lambent.base.exposition import Family, text
from lambent.base.sketch import Sketch


def test_a_counter_with_labels_that_need_escaping() -> None:
    family = Family("x_total", "counter", "With \\ and\nnewline.")
    family.add(3, name='a"b\\c\nd')
    family.add(0.25)
    [found] = text_string_to_metric_families(text([family]).decode())
    assert (found.name, found.type, found.documentation) == ("x", "counter", "With \\ and\nnewline.")
    assert [(one.labels, one.value) for one in found.samples] == [({"name": 'a"b\\c\nd'}, 3), ({}, 0.25)]


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])), st.floats())
def test_every_label_and_value_is_read_again(label: str, value: float) -> None:
    family = Family("x", "gauge", label)
    family.add(value, label=label)
    [found] = text_string_to_metric_families(text([family]).decode())
    [sample] = found.samples
    assert sample.labels == {"label": label}
    assert sample.value == value or (math.isnan(sample.value) and math.isnan(value))


def test_a_histogram_counts_upwards_in_another_unit() -> None:
    family = Family("t_seconds", "histogram", "Times.")
    family.spread(Sketch.of([(5, 2), (50, 3), (5000, 1)]), (0.01, 0.1, 1.0), 1000.0, f="f")
    [found] = text_string_to_metric_families(text([family]).decode())
    values = {(one.name, one.labels.get("le")): one.value for one in found.samples}
    assert values == {
        ("t_seconds_bucket", "0.01"): 2,
        ("t_seconds_bucket", "0.1"): 5,
        ("t_seconds_bucket", "1"): 5,
        ("t_seconds_bucket", "+Inf"): 6,
        ("t_seconds_sum", None): 5.16,
        ("t_seconds_count", None): 6,
    }
