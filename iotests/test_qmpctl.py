"""`qmpctl` as its user meets it: a program with an exit status, on qmpd and on QEMU's own servers."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from iotests.harness import Launcher, Scratch, Server
from iotests.harness.images import MIB

TIMEOUT = 90.0


class Ctl:
    """Runs `qmpctl` on one socket."""

    def __init__(self, target: Path | str) -> None:
        self.target = str(target)

    def argv(self, *words: str) -> list[str]:
        """The command line."""
        return [sys.executable, "-m", "qmpd.ctl.main", "--socket", self.target, *words]

    def __call__(self, *words: str, text: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Run it to its end."""
        return subprocess.run(
            self.argv(*words), input=text, capture_output=True, text=True, timeout=TIMEOUT, env=environment()
        )

    def ok(self, *words: str) -> str:
        """Run it, expect exit status 0 and no complaint; give what it printed."""
        done = self(*words)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def json(self, *words: str, status: int = 0) -> Any:
        """Run it with --json, expect an exit status; give what it printed as data."""
        done = self("--json", *words)
        assert (done.returncode, done.stderr) == (status, ""), done
        return json.loads(done.stdout)

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start it and go on. It can be interrupted, which not all that start the tests can themselves."""
        return subprocess.Popen(
            ["env", "--default-signal=INT", *self.argv(*words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )


def environment() -> dict[str, str]:
    """Ours without what the tests decide themselves."""
    return {name: value for name, value in os.environ.items() if name not in ("QMPD_SOCKET", "FORCE_COLOR")}


@pytest.fixture
def server(launch: Launcher) -> Server:
    """A server with a monitor for the test and one for `qmpctl`: QEMU serves one client a socket."""
    return launch(monitors=2)


@pytest.fixture
def ctl(server: Server) -> Ctl:
    server.wait_for_socket(server.monitor_paths[1])
    return Ctl(server.monitor_paths[1])


@pytest.fixture
def disks(server: Server, scratch: Scratch) -> tuple[str, str]:
    """A disk without holes and an empty one as its backup target, both opened."""
    return (
        server.add_raw(scratch.full_disk("source", 8 * MIB, seed=1)),
        server.add_raw(scratch.disk("target", 8 * MIB)),
    )


def backup(*more: str) -> tuple[str, ...]:
    """The words that start a slow backup, job id j."""
    return ("run", "blockdev-backup", "job-id=j", "device=source", "target=target", "sync=full", *more)


# run


def test_run_prints_for_humans_and_for_scripts(ctl: Ctl) -> None:
    assert "qemu:" in ctl.ok("run", "query-version")
    assert set(ctl.json("run", "query-version")) == {"qemu", "package"}
    assert ctl.ok("run", "query-jobs") == "(none)\n"
    assert ctl.json("run", "query-jobs") == []


@pytest.mark.peer("qemu")
def test_lines_of_the_monitor(ctl: Ctl, server: Server) -> None:
    server.add_null("n", MIB)
    shown = ctl.ok("hmp", "info block n", "nonsense").splitlines()
    assert shown[0].endswith("(null-co)")
    assert shown[1:] == ["    Cache mode:       writeback", "unknown command: 'nonsense'"]
    assert ctl("hmp", text="info status\nnonsense\n").stdout == "VM status: running\nunknown command: 'nonsense'\n"
    assert ctl.json("hmp", "nonsense") == "unknown command: 'nonsense'\r\n"
    assert ctl.ok("hmp", "info status") == "VM status: running\n"


@pytest.mark.peer("qemu")
def test_a_line_that_is_no_text(ctl: Ctl) -> None:
    done = subprocess.run(ctl.argv("hmp"), input=b"info status\n\xff\n", capture_output=True, env=environment())
    assert (done.returncode, done.stdout) == (2, b"VM status: running\n")
    assert done.stderr == b"qmpctl: UsageError: line 2 of the input is not UTF-8\n"


def test_lines_that_a_server_does_not_take(ctl: Ctl, server: Server) -> None:
    if server.kind == "qmpd":
        assert "wrote" not in ctl.ok("hmp", 'qemu-io nonsense "write 0 512"')
    else:
        assert ctl("hmp", "info block").returncode == 1


def test_the_schema_decides_the_types(ctl: Ctl, scratch: Scratch) -> None:
    path = scratch.disk("7", MIB).path
    words = ["driver=raw", "node-name=n7", "read-only=on", "size=64k", "file.driver=file"]
    assert ctl.ok("run", "blockdev-add", *words, f"file.filename={path}") == "ok\n"
    ctl.ok("run", "block-dirty-bitmap-add", "node=n7", "name=12")
    (node,) = [node for node in ctl.json("run", "query-named-block-nodes") if node["node-name"] == "n7"]
    assert (node["ro"], node["image"]["virtual-size"]) == (True, 65536)
    assert [bitmap["name"] for bitmap in node["dirty-bitmaps"]] == ["12"]


def test_a_transaction_in_dotted_keys_in_json_and_from_a_file(
    ctl: Ctl, server: Server, disks: tuple[str, str], scratch: Scratch
) -> None:
    action = {"type": "block-dirty-bitmap-add", "data": {"node": "source", "name": "b2"}}
    file = scratch / "actions.json"
    file.write_text(json.dumps({"actions": [{**action, "data": {"node": "source", "name": "b3"}}]}))
    words = ["actions.0.type=block-dirty-bitmap-add", "actions.0.data.node=source", "actions.0.data.name=1"]
    ctl.ok("run", "transaction", *words, "actions.0.data.granularity=64k")
    ctl.ok("run", "transaction", f"actions={json.dumps([action])}")
    ctl.ok("run", "transaction", f"@{file}")
    done = ctl("run", "transaction", "@-", text=file.read_text().replace("b3", "b4"))
    assert done.returncode == 0, done
    (node,) = [node for node in ctl.json("run", "query-named-block-nodes") if node["node-name"] == "source"]
    assert {bitmap["name"] for bitmap in node["dirty-bitmaps"]} == {"1", "b2", "b3", "b4"}


def test_an_error_of_the_server(ctl: Ctl) -> None:
    done = ctl("run", "blockdev-del", "node-name=none")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("qmpctl: GenericError: ")
    error = ctl.json("run", "blockdev-del", "node-name=none", status=1)["error"]
    assert error["class"] == "GenericError"
    assert error["desc"] in done.stderr
    assert ctl.json("run", "no-such-command", status=1)["error"]["class"] == "CommandNotFound"
    assert ctl.json("run", "block-job-cancel", "device=j", status=1)["error"]["class"] == "DeviceNotActive"


def test_wrong_words_are_refused_before_they_are_sent(ctl: Ctl, server: Server) -> None:
    for words in (["node-name"], ["node-name=a", "node-name=b"], ["{broken"], ["@/no/such/file"]):
        done = ctl("run", "blockdev-del", *words)
        assert (done.returncode, done.stdout) == (2, ""), done
        assert "UsageError" in done.stderr
    assert ctl.json("run", "job-cancel", "id", status=2)["error"]["class"] == "UsageError"
    assert ctl("run").returncode == 2
    assert ctl("dance").returncode == 2


def test_out_of_band(ctl: Ctl) -> None:
    assert ctl("run", "--oob", "query-version").returncode == 1  # not allowed out of band on either server


def test_options_stand_on_either_side_and_the_environment_is_the_default(ctl: Ctl) -> None:
    plain = [sys.executable, "-m", "qmpd.ctl.main"]
    after = [*plain, "run", "--json", "-s", ctl.target, "query-jobs"]
    by_environment = [*plain, "--json", "run", "query-jobs"]
    for words, more in ((after, {}), (by_environment, {"QMPD_SOCKET": ctl.target})):
        done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT, env=environment() | more)
        assert (done.returncode, done.stdout) == (0, "[]\n"), done


def test_quit(ctl: Ctl, server: Server) -> None:
    ctl.ok("run", "quit")
    assert server.wait_exit() == 0


# jobs


def test_jobs_are_listed(ctl: Ctl, disks: tuple[str, str]) -> None:
    assert ctl.ok("jobs") == "no jobs\n"
    ctl.ok(*backup("speed=1"))
    (job,) = ctl.json("jobs")
    assert (job["id"], job["type"], job["speed"]) == ("j", "backup", 1)
    assert "outcome" not in job
    assert "j (backup)" in ctl.ok("jobs", "j")
    assert ctl.json("jobs", "k", status=2)["error"]["class"] == "UsageError"


def test_waiting_tells_success(ctl: Ctl, server: Server, disks: tuple[str, str]) -> None:
    ctl.ok(*backup("speed=1"))
    waiting = ctl.start("--json", "jobs", "--wait", "j")
    server.qmp.command("block-job-set-speed", {"device": "j", "speed": 0})
    printed, complaint = waiting.communicate(timeout=TIMEOUT)
    # It may have come too late for a job that is forgotten at once; then it says so.
    if waiting.returncode == 2:
        assert "auto-dismiss" in json.loads(printed)["error"]["desc"]
        return
    assert (waiting.returncode, complaint) == (0, "")
    assert [job["outcome"] for job in json.loads(printed)] == ["completed"]


def test_waiting_for_a_kept_job_tells_how_it_ended(ctl: Ctl, server: Server, disks: tuple[str, str]) -> None:
    ctl.ok(*backup("auto-dismiss=false"))
    (job,) = ctl.json("jobs", "--wait", "j")
    assert (job["outcome"], job["current-progress"]) == ("completed", 8 * MIB)
    assert "completed" in ctl.ok("jobs", "--watch")
    ctl.ok("run", "job-dismiss", "id=j")
    ctl.ok(*backup("speed=1", "auto-dismiss=off"))
    ctl.ok("run", "block-job-cancel", "device=j", "force=yes")
    (job,) = ctl.json("jobs", "--wait", status=1)
    assert job["outcome"] == "cancelled"


def test_watching_sees_a_cancellation(ctl: Ctl, server: Server, disks: tuple[str, str]) -> None:
    ctl.ok(*backup("speed=1"))
    watching = ctl.start("jobs", "--watch", "j")
    assert watching.stdout is not None
    first = watching.stdout.readline()
    assert "j (backup) running" in first
    server.qmp.command("block-job-cancel", {"device": "j", "force": True})
    printed, complaint = watching.communicate(timeout=TIMEOUT)
    assert (watching.returncode, complaint) == (1, "")
    assert "cancelled" in printed.splitlines()[-1]


def test_run_and_wait(ctl: Ctl, disks: tuple[str, str]) -> None:
    assert "j (backup) completed, 100%" in ctl.ok(*backup("--wait")).splitlines()[-1]
    done = ctl("--json", *backup("--wait"))
    assert done.returncode == 0, done
    assert json.loads(done.stdout.splitlines()[-1])["outcome"] == "completed"


def test_nothing_to_wait_for(ctl: Ctl) -> None:
    """Nobody is led to believe that a job has completed, or that a time limit holds."""
    done = ctl("run", "query-jobs", "--wait")
    assert (done.returncode, done.stdout) == (0, "(none)\n")
    assert "no job" in done.stderr
    assert "--wait" in ctl.json("run", "query-jobs", "--timeout", "1", status=2)["error"]["desc"]


def test_run_and_wait_for_a_failing_job(
    ctl: Ctl, server: Server, disks: tuple[str, str], set_file_limit: Callable[[int], None]
) -> None:
    set_file_limit(1 * MIB)
    done = ctl("--json", *backup("--wait"))
    assert (done.returncode, done.stderr) == (1, ""), done
    job = json.loads(done.stdout.splitlines()[-1])
    assert (job["outcome"], bool(job["error"])) == ("failed", True)


@pytest.fixture
def set_file_limit(server: Server) -> Callable[[int], None]:
    """Let the server's writes beyond an offset fail."""
    import resource

    def limit(offset: int) -> None:
        _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (offset, hard))

    return limit


def test_a_group_is_awaited_as_a_whole(ctl: Ctl, server: Server, disks: tuple[str, str], scratch: Scratch) -> None:
    server.add_raw(scratch.full_disk("source2", MIB, seed=2))
    server.add_raw(scratch.disk("target2", MIB))
    first = {"job-id": "j1", "device": "source", "target": "target", "sync": "full"}
    second = {"job-id": "j2", "device": "source2", "target": "target2", "sync": "full"}
    actions = [{"type": "blockdev-backup", "data": data} for data in (first, second)]
    words = (f"actions={json.dumps(actions)}", "properties.completion-mode=grouped", "--wait")
    done = ctl("--json", "run", "transaction", *words)
    assert done.returncode == 0, done
    last = {job["id"]: job for job in map(json.loads, done.stdout.splitlines())}
    assert {name: job["outcome"] for name, job in last.items()} == {"j1": "completed", "j2": "completed"}


def test_waiting_has_an_end(ctl: Ctl, disks: tuple[str, str]) -> None:
    ctl.ok(*backup("speed=1"))
    assert ctl.json("jobs", "--wait", "--timeout", "0.2", status=5)["error"]["class"] == "Timeout"


def test_bars_on_a_terminal(ctl: Ctl, disks: tuple[str, str]) -> None:
    main, side = pty.openpty()
    watching = subprocess.Popen(
        ctl.argv(*backup("--wait", "speed=8M")),
        stdout=side,
        stderr=subprocess.PIPE,
        env=environment() | {"TERM": "xterm-256color", "COLUMNS": "120"},
    )
    os.close(side)
    screen = read_terminal(main)
    assert watching.wait(TIMEOUT) == 0
    assert "━" in screen
    assert "100%" in screen


def read_terminal(descriptor: int) -> str:
    """All that is written to a terminal until its last writer is gone."""
    pieces = []
    try:
        while piece := os.read(descriptor, 65536):
            pieces.append(piece)
    except OSError:
        pass  # how Linux says that nobody has the other side open
    os.close(descriptor)
    return b"".join(pieces).decode()


# events


def stir_until(server: Server, done: Callable[[], bool]) -> None:
    """Pause and resume job j, which makes events, until a client that has just been started heard of it."""
    while not done():
        for command, status in (("job-pause", "paused"), ("job-resume", "running")):
            server.qmp.command(command, {"id": "j"})
            server.qmp.wait_event("JOB_STATUS_CHANGE", id="j", status=status)


def readable(stream: IO[str] | None) -> bool:
    """Whether something can be read from it at once."""
    assert stream is not None
    return bool(select.select([stream], [], [], 0)[0])


def test_the_next_event(ctl: Ctl, server: Server, disks: tuple[str, str]) -> None:
    ctl.ok(*backup("speed=1"))
    listening = ctl.start("--json", "events", "--filter", "STOP", "--filter", "JOB_STATUS_*")
    stir_until(server, lambda: listening.poll() is not None)
    printed, complaint = listening.communicate(timeout=TIMEOUT)
    assert (listening.returncode, complaint) == (0, "")
    event = json.loads(printed)
    assert (event["event"], event["data"]["id"]) == ("JOB_STATUS_CHANGE", "j")


def test_a_number_of_events(ctl: Ctl, server: Server, disks: tuple[str, str]) -> None:
    ctl.ok(*backup("speed=1"))
    listening = ctl.start("events", "--count", "3")
    stir_until(server, lambda: listening.poll() is not None)
    printed, complaint = listening.communicate(timeout=TIMEOUT)
    assert (listening.returncode, complaint) == (0, "")
    assert [line.split(" ", 2)[2].split()[0] for line in printed.splitlines()] == ["JOB_STATUS_CHANGE"] * 3


def test_following_events_until_the_server_goes(ctl: Ctl, server: Server, disks: tuple[str, str]) -> None:
    ctl.ok(*backup("speed=1"))
    following = ctl.start("events", "--follow")
    stir_until(server, lambda: readable(following.stdout))
    server.kill()
    printed, complaint = following.communicate(timeout=TIMEOUT)
    assert following.returncode == 4
    assert "JOB_STATUS_CHANGE status=" in printed
    assert complaint.startswith("qmpctl: ServerLost: ")


def test_following_events_until_interrupted(ctl: Ctl, server: Server, disks: tuple[str, str]) -> None:
    ctl.ok(*backup("speed=1"))
    following = ctl.start("events", "--follow")
    stir_until(server, lambda: readable(following.stdout))
    following.send_signal(signal.SIGINT)
    _, complaint = following.communicate(timeout=TIMEOUT)
    assert (following.returncode, complaint) == (130, "")


def test_a_reader_that_has_enough(ctl: Ctl, server: Server, disks: tuple[str, str]) -> None:
    ctl.ok(*backup("speed=1"))
    following = ctl.start("events", "--follow")
    assert following.stdout is not None
    following.stdout.close()
    stir_until(server, lambda: following.poll() is not None)
    assert following.stderr is not None
    assert (following.wait(TIMEOUT), following.stderr.read()) == (0, "")


def test_no_events_in_time(ctl: Ctl) -> None:
    assert ctl.json("events", "--timeout", "0.2", status=5)["error"]["class"] == "Timeout"
    assert ctl.ok("events", "--follow", "--timeout", "0.2") == ""


# connections


def test_no_connection(scratch: Scratch) -> None:
    for target in (str(scratch / "none.sock"), "127.0.0.1:1"):
        done = Ctl(target)("run", "query-version")
        assert (done.returncode, done.stdout) == (3, ""), done
        assert done.stderr.startswith("qmpctl: ConnectError: ")
        assert Ctl(target).json("jobs", status=3)["error"]["class"] == "ConnectError"
        shell = Ctl(target)("shell")
        assert (shell.returncode, shell.stderr.count("\n")) == (3, 1)
    assert Ctl("host:none")("jobs").returncode == 2


def test_which_server(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "qmpd.ctl.main", "jobs"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env=environment(),
    )
    assert done.returncode == 2
    assert "QMPD_SOCKET" in done.stderr


def test_the_server_dies_midway(ctl: Ctl, server: Server, disks: tuple[str, str]) -> None:
    ctl.ok(*backup("speed=1"))
    watching = ctl.start("--json", "jobs", "--watch")
    assert watching.stdout is not None
    assert json.loads(watching.stdout.readline())["id"] == "j"
    server.kill()
    printed, _ = watching.communicate(timeout=TIMEOUT)
    assert watching.returncode == 4
    assert json.loads(printed.splitlines()[-1])["error"]["class"] == "ServerLost"


# shell


def test_the_shell_is_qmp_shell(ctl: Ctl, tmp_path: Path) -> None:
    typed = "query-jobs\ntransaction(\nblock-dirty-bitmap-add node=none name=b\n)\n"
    done = subprocess.run(
        ctl.argv("shell"),
        input=typed,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env=environment() | {"HOME": str(tmp_path)},
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "Welcome to the QMP low-level shell!" in done.stdout
    assert '{"return": []' in done.stdout
    assert '{"error": {"class": "GenericError"' in done.stdout
