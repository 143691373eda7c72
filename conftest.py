"""Fixtures of both suites: the PostgreSQL servers of this run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres import Cluster, SharedCluster, new_cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A primary and its replica, which run all the time; each test has a database of its own there."""
    base = tmp_path_factory.getbasetemp()
    shared = SharedCluster(base.parent if hasattr(request.config, "workerinput") else base)
    yield shared.cluster
    shared.close()


@pytest.fixture(scope="session")
def private_cluster() -> Iterator[Cluster]:
    """Servers for the tests of this worker alone; see `own_cluster`."""
    cluster = new_cluster()
    yield cluster
    cluster.remove()


@pytest.fixture
def own_cluster(private_cluster: Cluster) -> Iterator[Cluster]:
    """Servers that a test may stop."""
    yield private_cluster
    private_cluster.revive()
