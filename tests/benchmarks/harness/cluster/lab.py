"""A small network of hosts on one machine: Linux namespaces, each with an address of its own.

The hosts are on a bridge in a namespace of its own: nothing reaches the network of the machine. A
host has its own processes and its own /dev/shm, and a folder for the sockets of Ray; the other
folders are those of the machine, as if they were on storage that all hosts see.
"""

import importlib.util
import os
import pathlib
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping

ROOT = pathlib.Path(__file__).parents[4]
PORT = 6379
# Of the head: a host is dead when it was silent for ten seconds; without it, for a minute.
QUICK = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "3",
}
SPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
# What holds a host: its first process, until the tests end. The kernel then kills all others.
HOLD = """
mount -t tmpfs tmpfs "$1" && mount -t tmpfs tmpfs /dev/shm && ip link set lo up && echo up
cat
"""


def why_not() -> str:
    """Why there can be no lab here; empty: there can."""
    if importlib.util.find_spec("ray") is None:
        return "ray is not installed"
    if missing := [name for name in ("ip", "nsenter", "unshare") if not shutil.which(name)]:
        return f"there is no {missing[0]}"
    name = f"fd{os.getpid()}try"
    attempts = (
        ("ip", "netns", "add", name),
        ("ip", "-n", name, "link", "add", "name", "bridge", "type", "bridge"),
        ("ip", "netns", "exec", name, *SPACES, "mount", "-t", "tmpfs", "tmpfs", "/dev/shm"),
    )
    try:
        for words in attempts:
            tried = subprocess.run(words, capture_output=True, text=True)
            if tried.returncode:
                return f"{' '.join(words[:2])} is not allowed: {tried.stderr.strip()}"
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return ""


class Host:
    """A host of a lab.

    Args:
      lab: where it is.
      number: from 1, in its address.
      environment: variables of its processes, beside those of the lab.
    """

    def __init__(self, lab: "Lab", number: int, environment: Mapping[str, str]) -> None:
        self.lab, self.number, self.environment = lab, number, environment
        self.name, self.address = f"{lab.name}h{number}", f"10.77.0.{number}"
        self._port = f"p{number}"
        _ip("netns", "add", self.name)
        _ip(
            *("link", "add", "eth0", "netns", self.name, "type", "veth"),
            *("peer", "name", self._port, "netns", lab.bridge),
        )
        _ip("-n", lab.bridge, "link", "set", self._port, "master", "bridge", "up")
        _ip("-n", self.name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        _ip("-n", self.name, "link", "set", "eth0", "up")
        self._holder = subprocess.Popen(
            ["ip", "netns", "exec", self.name, *SPACES, "sh", "-c", HOLD, "sh", lab.sockets],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout
        assert self._holder.stdout.readline() == "up\n"
        number_of = self._holder.pid
        children = pathlib.Path(f"/proc/{number_of}/task/{number_of}/children").read_text()
        self._first = children.split()[0]
        self._ray: subprocess.Popen[str] | None = None

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Starts a command on the host."""
        inside = ("nsenter", "--target", self._first, "--net", "--mount", "--pid")
        process = subprocess.Popen(
            [*inside, f"--wdns={self.lab.folder}", *command],
            env={**self.lab.environment, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lab.started.append(process)
        return process

    def join(self, cpus: int = 1) -> None:
        """Starts Ray on the host, and does not wait for it; the first host is the head."""
        role = [f"--address={self.lab.address}"]
        if self.number == 1:
            role = [f"--port={PORT}", "--head", "--include-dashboard=false"]
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *role]
        limits = [f"--num-cpus={cpus}", f"--object-store-memory={80 << 20}"]
        own = f"--node-ip-address={self.address}"
        self._ray = self.start(*ray, own, *limits, "--disable-usage-stats")

    def wait(self) -> None:
        """Returns when Ray has started."""
        assert self._ray
        assert self._ray.stdout
        if not any("Ray runtime started" in line for line in self._ray.stdout):
            raise AssertionError(self._ray.communicate())

    def kill(self) -> None:
        """Kills all that runs on the host, with signal 9; it does not come up again."""
        self._holder.kill()
        self._holder.communicate()

    def unplug(self) -> None:
        """Cuts the link of the host."""
        _ip("-n", self.lab.bridge, "link", "set", self._port, "down")

    def plug(self) -> None:
        """Mends the link of the host."""
        _ip("-n", self.lab.bridge, "link", "set", self._port, "up")


class Lab:
    """Hosts, and a folder that all of them see.

    Args:
      folder: where commands run.
      name: of the lab, where there are several.
    """

    def __init__(self, folder: pathlib.Path, name: str = "") -> None:
        self.folder, self.name = folder, f"fd{os.getpid()}{name}"
        self.bridge = f"{self.name}bridge"
        self.address = f"10.77.0.1:{PORT}"
        self.hosts: list[Host] = []
        self.started: list[subprocess.Popen[str]] = []
        self.sockets = tempfile.mkdtemp(prefix="fd", dir="/tmp")  # paths of sockets are short
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "",  # else each process of Ray compiles all of it
            "RAY_TMPDIR": self.sockets,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_memory_monitor_refresh_ms": "0",  # else it kills for what others take
            "RAY_worker_niceness": "0",  # of 15, they starve where tests run side by side
        }
        _ip("netns", "add", self.bridge)
        _ip("-n", self.bridge, "link", "add", "name", "bridge", "type", "bridge")
        _ip("-n", self.bridge, "link", "set", "bridge", "up")

    def add(self, count: int = 1, **environment: str) -> list[Host]:
        """Adds hosts, which do not run Ray yet."""
        new = [Host(self, len(self.hosts) + 1 + i, environment) for i in range(count)]
        self.hosts += new
        return new

    def up(self, count: int, **environment: str) -> list[Host]:
        """Adds hosts, and starts Ray on them."""
        hosts = self.add(count, **environment)
        for host in hosts:
            host.join()
        for host in hosts:
            host.wait()
        return hosts

    def study(self, *arguments: object) -> list[str]:
        """The words of a command that trains the position table of `tiny.py` on the cluster."""
        program = [sys.executable, "-m", "benchmarks.preresnet", "--config", "tiny.py"]
        on_all = ["--cluster", self.address, "--config.devices=0"]
        return [*program, *on_all, *map(str, arguments)]

    def close(self) -> None:
        """Kills all that runs, and removes the hosts."""
        for host in self.hosts:
            host.kill()
            _ip("netns", "del", host.name)
        _ip("netns", "del", self.bridge)
        for process in self.started:
            process.communicate()
        shutil.rmtree(self.sockets, ignore_errors=True)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
