"""Which model is meant."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from lmstudio._sdk_models import ModelQuery, ModelSpecifierInstanceReference, ModelSpecifierQuery
from lmstudio._specifiers import instance_target, read_query, read_specifier
from lmstudio.errors import LMStudioValueError

QUERY = ModelSpecifierQuery(query=ModelQuery(identifier="qwen"))
REFERENCE = ModelSpecifierInstanceReference(instance_reference="ref-1")


@pytest.mark.parametrize(
    ("specifier", "expected"),
    [
        ("qwen", QUERY),
        (QUERY, QUERY),
        (ModelQuery(identifier="qwen"), QUERY),
        ({"identifier": "qwen"}, QUERY),
        ({"type": "query", "query": {"identifier": "qwen"}}, QUERY),
        (REFERENCE, REFERENCE),
        ({"type": "instanceReference", "instanceReference": "ref-1"}, REFERENCE),
        ({"type": "instanceReference", "instance_reference": "ref-1"}, REFERENCE),
        ({}, ModelSpecifierQuery(query=ModelQuery())),
        ({"vision": True, "domain": "llm"}, ModelSpecifierQuery(query=ModelQuery(vision=True, domain="llm"))),
        ({"deviceIdentifier": None}, ModelSpecifierQuery(query=ModelQuery(device_identifier=None))),
        ({"device_identifier": "d"}, ModelSpecifierQuery(query=ModelQuery(device_identifier="d"))),
    ],
)
def test_a_model_can_be_meant_in_many_ways(specifier: Any, expected: object) -> None:
    assert read_specifier(specifier) == expected


@pytest.mark.parametrize("specifier", [None, 5, b"qwen", ["qwen"], ""])
def test_what_means_no_model_is_refused(specifier: Any) -> None:
    with pytest.raises(LMStudioValueError):
        read_specifier(specifier)


@pytest.mark.parametrize(
    ("specifier", "complaint"),
    [
        # Ignoring a misspelt member would mean any model.
        ({"identifer": "qwen"}, "no setting 'identifer'. Did you mean 'identifier'"),
        ({"type": "query", "query": {"identifer": "qwen"}}, "no setting 'identifer'"),
        ({"type": "qwery", "identifier": "qwen"}, "no setting 'type'"),
        ({"type": "query"}, "missing required field `query`"),
        ({"type": "query", "query": 5}, "query"),
        ({"type": "instanceReference"}, "instanceReference"),
        ({"identifier": 5}, "identifier"),
        ({"identifier": ""}, "identifier"),
        ({"domain": "poetry"}, "domain"),
        (ModelQuery(identifier=""), "identifier"),
        ({"path": "publisher\\repository"}, "forward slashes only"),
        (ModelQuery(path="a\\b"), "forward slashes only"),
        ({"type": "query", "query": {"path": "a\\b"}}, "forward slashes only"),
        ({"type": "instanceReference", "instanceReference": ""}, "non-empty"),
    ],
)
def test_a_bad_query_is_refused_with_the_reason(specifier: Any, complaint: str) -> None:
    with pytest.raises(LMStudioValueError, match=complaint):
        read_specifier(specifier)


@pytest.mark.parametrize(
    ("whole", "members", "expected"),
    [
        ("qwen", {}, QUERY),
        ("qwen", {"identifier": None, "device_identifier": UNSET}, QUERY),
        (None, {"identifier": "qwen", "path": None, "device_identifier": UNSET}, QUERY),
        (None, {"device_identifier": None}, ModelSpecifierQuery(query=ModelQuery(device_identifier=None))),
        (None, {"vision": False}, ModelSpecifierQuery(query=ModelQuery(vision=False))),
        (None, {}, ModelSpecifierQuery(query=ModelQuery())),
    ],
)
def test_a_query_comes_whole_or_in_parts(whole: Any, members: dict[str, Any], expected: object) -> None:
    assert read_query(whole, members) == expected


@pytest.mark.parametrize("members", [{"path": "a/b"}, {"device_identifier": None}])
def test_a_query_cannot_come_whole_and_in_parts(members: dict[str, Any]) -> None:
    with pytest.raises(LMStudioValueError, match="not both; got"):
        read_query("qwen", members)


@pytest.mark.parametrize("reference", ["", None, 5, REFERENCE])
def test_what_is_no_instance_reference_is_refused(reference: Any) -> None:
    with pytest.raises(LMStudioValueError, match="An instance reference is a non-empty string"):
        instance_target(reference)
