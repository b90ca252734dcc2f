"""Which hosts of a cluster may train: they have the versions of this one and see its folder."""

import contextlib
import pathlib
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.harness.arguments import UsageError
from benchmarks.harness.cluster.host import UNFIT, Wanted
from benchmarks.harness.cluster.joining import NODE, Cluster

_CHECK_SECONDS = 120.0  # in which every host has answered
_SEEN_SECONDS = 10.0  # in which a file of another host is seen


def host_function(name: str) -> Callable[..., tuple[str, Any, str]]:
    """Makes a function of `cluster.host` one that travels whole: a host may lack this package."""

    def on_host(*arguments: Any) -> tuple[str, Any, str]:
        import ray

        try:
            from benchmarks.harness.cluster import host
        except Exception as error:
            node = ray.get_runtime_context().get_node_id()
            return "unfit", node, f"cannot import flaxdrop: {type(error).__name__}: {error}"
        found: tuple[str, Any, str] = getattr(host, name)(*arguments)
        return found

    return on_host


@contextlib.contextmanager
def marked(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file in a folder by which hosts know that they see the same one."""
    for old in folder.glob(".storage-*"):
        old.unlink(missing_ok=True)
    token = folder / f".storage-{uuid.uuid4().hex}"
    token.write_text(token.name)
    try:
        yield token
    finally:
        for path in folder.glob(f"{token.name}*"):
            path.unlink(missing_ok=True)


def check_hosts(cluster: Cluster, wanted: Wanted, token: pathlib.Path) -> Iterator[str]:
    """Lets every host show that it fits.

    Yields:
      Warnings.

    Raises:
      UsageError: some do not; it names them.
    """
    show = cluster.ray.remote(num_cpus=0)(host_function("show_fit"))
    hosts = {host.node: host for host in cluster.hosts()}
    asked = {
        show.options(label_selector={NODE: node}).remote(wanted): host
        for node, host in hosts.items()
    }
    answered, silent = cluster.ray.wait(list(asked), num_returns=len(asked), timeout=_CHECK_SECONDS)
    faults = [f"{asked[reference].address} does not answer" for reference in silent]
    processors: dict[str, str] = {}
    end = time.monotonic() + _SEEN_SECONDS
    for reference in answered:
        host = asked[reference]
        how, _, words = cluster.ray.get(reference)
        mark = token.with_name(f"{token.name}.{host.node}")
        while how != UNFIT and not mark.exists() and time.monotonic() < end:
            time.sleep(0.1)
        if how == UNFIT:
            faults.append(f"{host.address} {words}")
        elif not mark.exists():
            faults.append(f"{host.address} has another folder at {token.parent}")
        else:
            processors.setdefault(words, host.address)
    if faults:
        raise UsageError(f"cluster: hosts must fit, {'; '.join(sorted(faults))}")
    if len(processors) > 1 and cluster.kind == "CPU":
        each = ", ".join(f"{name} ({address})" for name, address in processors.items())
        yield f"warning: the processors of the hosts differ, and results in rounding: {each}"
