"""One process with @lmstudio/sdk for all tests of a module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .node_peer import NodePeer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def node() -> Iterator[NodePeer]:
    """@lmstudio/sdk in a process of Node."""
    with NodePeer() as node:
        yield node


@pytest.fixture
def nothing_to_complain_about(node: NodePeer) -> Iterator[None]:
    """@lmstudio/sdk must not print a warning during the test."""
    node.take_warnings()
    yield
    assert node.take_warnings() == []
