"""Fixtures and options of the black-box suites.

`server` is a running server, and a test that asks for it runs once on qmpd and once on QEMU's own. `launch`
starts servers with options of the test's choice. Markers: `qmpd_only(reason)`, `qsd_only(reason)`, and
`peer("qemu")` to take a QEMU without a machine for the real one, or `peer("pc")` for one with a PC that stands still.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from iotests.harness import Launcher, QmpdServer, Scratch, Server
from iotests.harness.tools import missing_packages

_REPORT = pytest.StashKey[Launcher]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--server",
        choices=("both", "qmpd", "qsd"),
        default="both",
        help="run the black-box tests on both servers (the default) or on one of them only",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "qmpd_only(reason): a promise that only qmpd makes")
    config.addinivalue_line("markers", "qsd_only(reason): a fact about QEMU's own daemon")
    config.addinivalue_line("markers", "peer(kind): the real server to run on instead of qemu-storage-daemon")
    QmpdServer.starts_warm = not os.environ.get("QMPD_SOAK")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server_kind" in metafunc.fixturenames:
        metafunc.parametrize("server_kind", _kinds(metafunc.definition))


def _kinds(item: pytest.Item) -> list[str]:
    peer = item.get_closest_marker("peer")
    real = peer.args[0] if peer else "qsd"
    if item.get_closest_marker("qmpd_only"):
        return ["qmpd"]
    if item.get_closest_marker("qsd_only"):
        return [real]
    return ["qmpd", real]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    if not any(here in item.path.parents for item in items):
        return
    missing = missing_packages()
    if missing:
        raise pytest.UsageError(f"the black-box tests need tools; run: apt-get install -y {' '.join(missing)}")
    choice = config.getoption("--server")
    if choice != "both":
        _choose_server(choice, config, items)


def _choose_server(choice: str, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out (and count as deselected) the tests on the servers that were not chosen."""

    def chosen(item: pytest.Item) -> bool:
        callspec = getattr(item, "callspec", None)
        kind = callspec.params.get("server_kind") if callspec else None
        return kind is None or (kind == "qmpd") == (choice == "qmpd")

    left_out = [item for item in items if not chosen(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if chosen(item)]


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    """A fresh directory; short enough for Unix sockets as long as the temporary directory is."""
    return Scratch(tmp_path)


@pytest.fixture
def launch(request: pytest.FixtureRequest, server_kind: str, scratch: Scratch) -> Iterator[Launcher]:
    """Starts servers; all of them are ended, and checked for complaints, when the test is over."""
    launcher = Launcher(server_kind, scratch)
    request.node.stash[_REPORT] = launcher
    try:
        yield launcher
    finally:
        launcher.close()


@pytest.fixture
def server(launch: Launcher) -> Server:
    """A running server without any node."""
    return launch()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    launcher = item.stash.get(_REPORT, None)
    if launcher is not None and report.failed:
        report.sections.append(("servers", launcher.report()))
