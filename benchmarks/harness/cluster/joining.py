"""Joins a cluster of Ray, and finds out which hosts it has.

`cluster.run` trains cells on it, `cluster.host` is what its hosts do.
"""

import contextlib
import importlib.util
import io
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

from benchmarks.harness.arguments import USER_ERROR, UsageError, one_line
from benchmarks.harness.settings import Settings

NODE = "ray.io/node-id"  # a label that Ray gives to every host
_KINDS = ("TPU", "GPU")  # two kinds round differently: the first that a host has trains alone
_ANSWER_SECONDS = 5
_JOIN_SECONDS = 60
_WATCH_SECONDS = 3  # between two looks at the head
_GONE_SECONDS = 45  # without an answer of it; Ray waits for 60
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"  # of HTTP/2, which gRPC speaks
_SETTINGS = 4  # the kind of the first frame that answers it


class Host(NamedTuple):
    """A host of a cluster.

    Attributes:
      node: what Ray calls it.
      address: of its own.
      devices: how many it has.
    """

    node: str
    address: str
    devices: int


class Cluster:
    """A cluster that this process has joined.

    Args:
      ray: the package.

    Attributes:
      ray: the package.
      kind: of the devices that train, as Ray names them.
      left_out: nodes that do not fit.
      jobs: what the last run was made from -> what its hosts were given.
    """

    def __init__(self, ray: Any) -> None:
        self.ray = ray
        there = {kind for node in ray.nodes() if node["Alive"] for kind in node["Resources"]}
        self.kind = next((kind for kind in _KINDS if kind in there), "CPU")
        self.left_out: set[str] = set()
        self.jobs: dict[Any, list[Any]] = {}

    def hosts(self) -> list[Host]:
        """The hosts that are there, have devices, and are not left out."""
        found = [
            Host(node["NodeID"], node["NodeManagerAddress"], int(node["Resources"][self.kind]))
            for node in self.ray.nodes()
            if node["Alive"] and node["Resources"].get(self.kind, 0) >= 1
        ]
        return [host for host in found if host.node not in self.left_out]

    def describe(self) -> str:
        """Its hosts and devices, in a few words."""
        hosts = self.hosts()
        return f"on {sum(h.devices for h in hosts)} devices ({self.kind}) of {len(hosts)} hosts"

    def tasks_at_a_time(self, settings: Settings) -> int:
        """How many tasks may train at a time; 0: as many as there is room for.

        Raises:
          UsageError: the devices that are asked for are not there.
        """
        hosts, wanted, each = self.hosts(), settings.devices, settings.devices_per_cell
        total, most = sum(h.devices for h in hosts), max((h.devices for h in hosts), default=0)
        if wanted > total or not total:
            raise UsageError(
                f"devices: must be at most {total} ({self.kind}, of {len(hosts)} hosts), or 0 for"
                f" all, got {wanted}"
            )
        if each > most:
            raise UsageError(
                f"devices_per_cell: must be at most {most}, those of the largest host, got {each}"
            )
        if wanted % each:
            raise UsageError(
                f"devices_per_cell: must be a divisor of the number of devices, {wanted}, got"
                f" {each}"
            )
        return wanted // each


@contextlib.contextmanager
def joined(address: str) -> Iterator[Cluster | None]:
    """Joins a cluster.

    Args:
      address: "auto", that of this machine, or HOST:PORT of its head; empty: none.

    Raises:
      UsageError: there is none, or it does not take this process.
    """
    if not address:
        yield None
        return
    if importlib.util.find_spec("ray") is None:
        raise UsageError('ray: must be installed for --cluster; pip install ".[cluster]"')
    if address != "auto":
        _check_answers(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    with _quiet(), contextlib.ExitStack() as stack:
        with _patience(address):
            try:
                ray.init(address=address, log_to_driver=False, logging_level="CRITICAL")
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise UsageError(f"cluster: cannot join {address}: {one_line(error)}") from error
        try:
            stack.enter_context(_watched(ray.get_runtime_context().gcs_address))
            cluster = Cluster(ray)
            if cluster.kind != "CPU":  # the devices of this host are for tasks
                jax.config.update("jax_platforms", "cpu")
            yield cluster
        finally:
            # What its threads held back is said now, by this one.
            unsaid = io.StringIO()
            with contextlib.redirect_stdout(unsaid), contextlib.redirect_stderr(unsaid):
                ray.shutdown()


def _check_answers(address: str) -> None:
    """Finds out at once what Ray itself tries for two minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"cluster: must be auto or HOST:PORT, got {address!r}")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS) as link:
            link.sendall(_HELLO)
            answer = link.recv(9)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise UsageError(
            f"cluster: must be the address of a head of Ray that is up, got {address} ({reason})"
        ) from error
    if answer[3:4] != bytes([_SETTINGS]):
        raise UsageError(f"cluster: must be the address of a head of Ray, got {address}")


@contextlib.contextmanager
def _patience(address: str) -> Iterator[None]:
    words = f"cannot join {address} in {_JOIN_SECONDS} s"
    timer = threading.Timer(_JOIN_SECONDS, _give_up, [words])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def _watched(head: str) -> Iterator[None]:
    """Ends the process, in one line, when the head is gone: Ray does so in many, and later."""
    ended = threading.Event()

    def watch() -> None:
        answered = time.monotonic()
        while not ended.wait(_WATCH_SECONDS):
            with contextlib.suppress(UsageError):
                _check_answers(head)
                answered = time.monotonic()
            if time.monotonic() - answered > _GONE_SECONDS and not ended.is_set():
                _give_up(
                    f"its head at {head} is gone; finished cells are in the ledger, those in"
                    " training saved: start it again, and run the same command to go on"
                )

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _give_up(words: str) -> None:
    """Ends the process with an error, whatever its main thread waits for."""
    os.write(2, f"\nerror: cluster: {words}\n".encode())
    os._exit(USER_ERROR)


class _WithoutRay:
    """A stream that leaves out what threads of Ray print: 20 lines for each process that dies."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if threading.current_thread().name.startswith("ray_"):
            return len(text)
        return int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    out, err = _WithoutRay(sys.stdout), _WithoutRay(sys.stderr)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield
