"""A small network of hosts on one machine: network namespaces, each with an address of its own.

The hosts are on a bridge in a namespace of its own: nothing reaches the network of the machine.
"""

import contextlib
import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

ROOT = pathlib.Path(__file__).parents[3]
PORT = 6379
# A host is dead when it was silent for three seconds; without it, for half a minute.
QUICK = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


def why_not() -> str:
    """Why there can be no lab here; empty: there can."""
    if importlib.util.find_spec("ray") is None:
        return "ray is not installed"
    if shutil.which("ip") is None:
        return "there is no program ip"
    tried = subprocess.run(
        ["ip", "netns", "add", name := f"fd{os.getpid()}try"], capture_output=True, text=True
    )
    if tried.returncode:
        return f"network namespaces are not allowed: {tried.stderr.strip()}"
    _ip("netns", "del", name)
    return ""


class Host:
    """A host of a lab.

    Args:
      lab: where it is.
      number: from 1; of its address.
    """

    def __init__(self, lab: "Lab", number: int) -> None:
        self.lab, self.number = lab, number
        self.name, self.address = f"{lab.name}h{number}", f"10.77.0.{number}"
        self._port = f"p{number}"
        self.ray: subprocess.Popen[str] | None = None
        _ip("netns", "add", self.name)
        _ip(
            *("link", "add", "eth0", "netns", self.name, "type", "veth"),
            *("peer", "name", self._port, "netns", lab.bridge),
        )
        _ip("-n", lab.bridge, "link", "set", self._port, "master", "bridge", "up")
        _ip("-n", self.name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        _ip("-n", self.name, "link", "set", "eth0", "up")
        _ip("-n", self.name, "link", "set", "lo", "up")

    def start(
        self, *command: str, mounts: str = "", environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Starts a command on the host.

        Args:
          *command: its words.
          mounts: what a shell does before, which the command alone sees: to mount things.
          environment: variables beside those of the lab.
        """
        if mounts:
            command = ("sh", "-c", f'{mounts}; exec "$@"', "sh", *command)
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.name, *command],
            cwd=self.lab.folder,
            env={**self.lab.environment, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lab.started.append(process)
        return process

    def join(self, *, cpus: int = 1, **options: Any) -> None:
        """Starts Ray on the host; the first host is the head."""
        own = f"--node-ip-address={self.address}"
        role = (f"--port={PORT}", "--head", "--include-dashboard=false")
        if self.number > 1:
            role = (f"--address={self.lab.address}",)
        limits = (f"--num-cpus={cpus}", f"--object-store-memory={80 << 20}")
        ray = (sys.executable, "-m", "ray.scripts.scripts", "start", "--block")
        self.ray = self.start(*ray, own, *role, *limits, "--disable-usage-stats", **options)

    def wait(self) -> None:
        """Returns when Ray has started on the host."""
        assert self.ray
        assert self.ray.stdout
        if not any("Ray runtime started" in line for line in self.ray.stdout):
            raise AssertionError(self.ray.communicate())

    def processes(self) -> list[int]:
        """The numbers of the processes on the host."""
        return [int(pid) for pid in _ip("netns", "pids", self.name).split()]

    def kill(self) -> None:
        """Kills all that runs on the host."""
        while pids := self.processes():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

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
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder, self.name = folder, f"fd{os.getpid()}"
        self.bridge = f"{self.name}sw"
        self.address = f"10.77.0.1:{PORT}"
        self.hosts: list[Host] = []
        self.started: list[subprocess.Popen[str]] = []
        self._temporary = tempfile.mkdtemp(prefix="fd", dir="/tmp")  # paths of sockets are short
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "",  # else each process of Ray compiles all of it
            "RAY_TMPDIR": self._temporary,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": os.urandom(16).hex(),
            "RAY_USAGE_STATS_ENABLED": "0",
            **QUICK,
        }
        _ip("netns", "add", self.bridge)
        _ip("-n", self.bridge, "link", "add", "name", "bridge", "type", "bridge")
        _ip("-n", self.bridge, "link", "set", "bridge", "up")

    def add(self, count: int = 1) -> list[Host]:
        """Adds hosts, which do not run Ray yet."""
        new = [Host(self, len(self.hosts) + 1 + i) for i in range(count)]
        self.hosts += new
        return new

    def study(self, *arguments: object) -> list[str]:
        """The words of a command that trains the position table of `tiny.py` on the cluster."""
        program = [sys.executable, "-m", "benchmarks.preresnet", "--config", "tiny.py"]
        return [*program, "--cluster", self.address, *map(str, arguments)]

    def close(self) -> None:
        """Kills all that runs, and removes the hosts."""
        for host in self.hosts:
            host.kill()
            _ip("netns", "del", host.name)
        _ip("netns", "del", self.bridge)
        for process in self.started:
            process.communicate()
        shutil.rmtree(self._temporary, ignore_errors=True)


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=True)
    return done.stdout
