"""Command lines, good and bad, on qmpd and on qemu-storage-daemon: same exit status, same channels, same effects.

Each line ends at once: a good one asks for help about objects at its end, which both programs answer (with status 0)
only when all that stands before it has been carried out. `{dir}` is an empty directory of the line's own.
"""

import os
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from iotests.harness import SERVER_KINDS
from tests import soak

TIMEOUT = 60

GOOD_END = "--object help"

INFORMATION = """
--help
-h
-hV
-V
-Vx
--version
--vers
--help --nonsense
stray --help
--blockdev nope --help
--blockdev driver=nope,node-name=n --version
--trace help
-T help
--trace=?
--object help
--object ?
--object secret,help
--object qom-type=secret,help
--object nonsense,help
--object help --blockdev nope
--chardev help
--chardev ?
--chardev backend=help
"""

WRONG = """
--nonsense
--nonsense --help
-xV
stray
-
--blockdev
--m
--o
--pidfile
--help=yes
--daemonize=yes
--monitor nobody
--monitor help
--export help
--nbd-server help
--blockdev help
--blockdev ?
--blockdev driver=help
--blockdev raw,help
--blockdev driver=nope,node-name=n --object help
--blockdev driver=file,node-name=f,filename={dir}/none --object help
--blockdev driver=null-co,node-name=a --blockdev driver=null-co,node-name=a
--blockdev null-co,node-name=a,size=many
--blockdev null-co,node-name=a,size
--blockdev null-co,node-name=a,nosize
--blockdev null-co,node-name=1
--blockdev "{'driver':'null-co','node-name':'a'"
--blockdev '[1]'
--object nonsense,id=x
--object qom-type=help
--object secret
--object secret,id=1x,data=y
--object '{"qom-type":"secret","id":"s","data":"x"'
--object iothread,id=i --object iothread,id=i
--object throttle-group,id=g,limits.iops-total=x
--nbd-server '{"addr":{"type":"unix","data":{"path":"{dir}/n"}}}'
--nbd-server addr.type=unix
--nbd-server addr.type=nonsense,addr.path={dir}/n
--nbd-server addr.type=unix,addr.path={dir}/none/n
--nbd-server addr.type=unix,addr.path={dir}/n,max-connections=many
--nbd-server addr.type=unix,addr.path={dir}/n,tls-creds=nobody
--nbd-server addr.type=unix,addr.path={dir}/n --nbd-server addr.type=unix,addr.path={dir}/m
--export nbd,id=e,node-name=nobody
--export nonsense,id=e,node-name=n
--blockdev null-co,node-name=n --export nbd,id=e,node-name=n
--blockdev null-co,node-name=n --nbd-server addr.type=unix,addr.path={dir}/n --export nbd,node-name=n
--pidfile {dir}/none/pid
--daemonize --pidfile {dir}/none/pid
--daemonize --blockdev driver=file,node-name=f,filename={dir}/none
--trace nonsense=1
--trace events={dir}/none
"""

CHARDEVS_WRONG = """
--chardev null
--chardev null,id=
--chardev null,id=1c
--chardev id=c
--chardev ,id=c
--chardev nonsense,id=c
--chardev null,,id=c
--chardev null,id=c,foo=1
--chardev '{"backend":"null","id":"c"}'
--chardev null,id=c,server=ON
--chardev null,id=c,reconnect=x
--chardev null,id=c --chardev null,id=c
--chardev null,id=c,logfile={dir}/none/log
--chardev socket,id=c
--chardev socket,id=c,host=h
--chardev socket,id=c,path={dir}/s,fd=1
--chardev socket,id=c,path={dir}/s,host=h
--chardev socket,id=c,path={dir}/s
--chardev socket,id=c,path={dir}/s,wait=off
--chardev socket,id=c,path={dir}/s,server=maybe
--chardev socket,id=c,path={dir}/s,server=on,wait=off,reconnect=1
--chardev socket,id=c,path={dir}/none/s,server=on,wait=off
--chardev socket,id=c,path={dir}/s,server=on,wait=off,tls-creds=nobody
--chardev socket,id=c,host=127.0.0.1,port=x,server=on,wait=off
--chardev socket,id=c,host=127.0.0.1,port=0,to=x,server=on,wait=off
--chardev socket,id=c,host=127.0.0.1,port=0,ipv4=off,server=on,wait=off
--chardev socket,id=c,host=127.0.0.1,port=0,delay=on,nodelay=on,server=on,wait=off
--chardev socket,id=c,fd=x,server=on,wait=off
--chardev socket,id=c,fd=99,server=on,wait=off
--chardev stdio,id=c --chardev stdio,id=d
--chardev file,id=c
--chardev file,id=c,path={dir}/none/o
--chardev pipe,id=c
--chardev pipe,id=c,path={dir}/none
--chardev serial,id=c
--chardev serial,id=c,path={dir}/none
--chardev parallel,id=c,path={dir}/none
--chardev ringbuf,id=c,size=1000
--chardev ringbuf,id=c,size=x
--chardev udp,id=c
--chardev udp,id=c,port=
--chardev mux,id=c
--chardev mux,id=c,chardev=nobody
--chardev vc,id=c
--chardev console,id=c
--chardev spicevmc,id=c,name=n
--chardev spiceport,id=c,name=n
--chardev msmouse,id=c
--chardev braille,id=c
--chardev testdev,id=c
--chardev dbus,id=c,name=n
--chardev qemu-vdagent,id=c
--monitor c --chardev null,id=c
--chardev null,id=c --monitor c --monitor c
--chardev null,id=c --monitor c,mode=readline
--chardev null,id=c --monitor c,mode=nonsense
--chardev null,id=c --monitor c,foo=1
--chardev null,id=c --monitor c,pretty
--chardev null,id=c --monitor c,pretty=maybe
--chardev null,id=c --monitor pretty=on
--chardev null,id=c --monitor '{"chardev":"c","pretty":"on"}'
"""

GOOD = """
--block driver=null-co,node-name=a
--blockdev=driver=null-co,node-name=a
--blockdev null-co,node-name=a,size=65536,read-zeroes=on --blockdev '{"driver":"raw","node-name":"r","file":"a"}'
--blockdev "{'driver':'null-co','node-name':'a','size':4096}"
--blockdev raw,node-name=r,file.driver=null-co,file.size=0x100000
--object secret,id=s,data=abc --object '{"qom-type":"iothread","id":"i"}'
--object throttle-group,id=g,limits.iops-total=9
--nbd-server addr.type=unix,addr.path={dir}/n,max-connections=3
--nbd-server '{"addr":{"type":"unix","path":"{dir}/n"}}'
--nbd-server addr.type=inet,addr.host=127.0.0.1,addr.port=0
--blockdev null-co,node-name=n --nbd-server addr.type=unix,addr.path={dir}/n --export nbd,id=e,node-name=n,name=x
--pidfile {dir}/pid --pidfile {dir}/pid2
--trace file={dir}/trace
--chardev null,id=c --monitor c
--chardev null,id=c --monitor chardev=c,id=m,mode=control,pretty=on
--chardev null,id=c --monitor '{"chardev":"c","pretty":true}'
--chardev id=c,backend=null
--chardev null,id=c,
--chardev null,id=c,path=/x,cols=3,telnet=off --monitor c
--chardev null,id=c,server
--chardev null,id=c,logfile={dir}/log,logappend=on
--chardev socket,id=c,path={dir}/s,server=on,wait=off --monitor c
--chardev socket,id=c,path={dir}/s,server,nowait --monitor c
--chardev socket,id=c,path={dir}/s,server=yes,wait=no --monitor c
--chardev socket,id=c,path={dir}/s,path={dir}/t,server=true,wait=n
--chardev socket,id=c,path={dir}/s,reconnect=1
--chardev socket,id=c,host=127.0.0.1,port=0,to=9,ipv4=on,nodelay=on,server=on,wait=off --monitor c
--chardev socket,id=c,host=,port=0,server=on,wait=off
--chardev socket,id=c,path={dir}/s,tight=off,server=on,wait=off
--chardev stdio,id=c,signal=off
--chardev file,id=c,path={dir}/o,append=on
--chardev pty,id=c,path=/x
--chardev ringbuf,id=c,size=64k --chardev memory,id=d,size=2
--chardev udp,id=c,port=9 --chardev udp,id=d,host=127.0.0.1,port=9,localaddr=127.0.0.1,localport=0
"""


@dataclass(frozen=True)
class Outcome:
    """What one run of a program shows: which channels it wrote to, and what is left in its directory."""

    status: int
    stdout: bool
    stderr: bool
    left: tuple[str, ...]


def run(kind: str, line: str, directory: Path) -> tuple[Outcome, str]:
    """Run a line to its end; also all that was written, for whoever reads of a failure."""
    directory.mkdir(parents=True)
    argv = [*SERVER_KINDS[kind].program(), *shlex.split(line.replace("{dir}", str(directory)))]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT, cwd=directory, env=environment
    )
    assert "Traceback" not in done.stderr, done.stderr
    left = tuple(sorted(path.name for path in directory.iterdir() if path.name not in LEFT_BEHIND))
    return Outcome(done.returncode, bool(done.stdout), bool(done.stderr), left), done.stdout + done.stderr


LEFT_BEHIND = ("n", "s", "t", "trace", "pid", "pid2")
"""What qemu-storage-daemon leaves when it ends for its command line, or makes where qmpd does not."""


def hold_against_each_other(lines: list[str], directory: Path, status: int) -> None:
    """All lines on both programs; the same outcome, with `status`."""
    jobs = [(kind, number, line) for number, line in enumerate(lines) for kind in ("qmpd", "qsd")]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        done = list(pool.map(lambda job: run(job[0], job[2], directory / job[0] / str(job[1])), jobs))
    wrong = []
    for (_, number, line), (ours, our_words), (theirs, their_words) in zip(
        jobs[::2], done[::2], done[1::2], strict=True
    ):
        if ours != theirs or ours.status != status:
            wrong.append(f"{number}: {line}\n  qmpd: {ours} {our_words[:200]}\n  qsd: {theirs} {their_words[:200]}")
    assert not wrong, "\n".join(wrong)


def lines(table: str, end: str = "") -> list[str]:
    """The lines of a table, or a part of them when time is short."""
    all_lines = table.strip().splitlines()
    return [f"{line} {end}" for line in all_lines[:: soak.count(5, 1)]]


@pytest.mark.parametrize(
    ("table", "status"),
    [(INFORMATION, 0), (WRONG, 1), (CHARDEVS_WRONG, 1)],
    ids=["information", "wrong", "wrong-chardevs"],
)
def test_lines_that_end(table: str, status: int, tmp_path: Path) -> None:
    hold_against_each_other(lines(table), tmp_path, status)


def test_good_lines(tmp_path: Path) -> None:
    """The warnings about older spellings are QEMU's alone, so such lines are held against each other apart."""
    good = lines(GOOD, GOOD_END)
    older = [line for line in good if ",server " in line or ",nowait" in line]
    hold_against_each_other([line for line in good if line not in older], tmp_path / "good", 0)
    for number, line in enumerate(older):
        for kind in ("qmpd", "qsd"):
            assert run(kind, line, tmp_path / "older" / kind / str(number))[0].status == 0
