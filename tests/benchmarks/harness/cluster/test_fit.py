"""Clusters and hosts that do not fit are refused in a line, before anything is trained."""

import http.server
import threading
import time
from types import SimpleNamespace

import pytest

from benchmarks.harness.arguments import UsageError
from benchmarks.harness.cluster.joining import Cluster, joined

FIELDS = ("--config.variants=none,p6", "--config.seeds=2", "--config.epochs=1500")


def a_host(node, **resources):
    return {"NodeID": node, "NodeManagerAddress": node, "Alive": True, "Resources": resources}


def cluster_of(*nodes):
    return Cluster(SimpleNamespace(nodes=lambda: list(nodes)))


@pytest.fixture
def settings():
    return lambda **fields: SimpleNamespace(**{"devices": 0, "devices_per_cell": 1, **fields})


def test_an_accelerator_trains_alone():
    mixed = cluster_of(a_host("a", CPU=8.0), a_host("b", CPU=8.0, GPU=2.0))
    assert mixed.kind == "GPU"
    assert mixed.describe() == "on 2 devices (GPU) of 1 hosts"
    assert cluster_of(a_host("a", CPU=8.0, TPU=4.0, GPU=1.0)).kind == "TPU"
    assert cluster_of(a_host("a", CPU=8.0), a_host("b", CPU=2.0)).kind == "CPU"


def test_devices_that_are_not_there(settings):
    two = cluster_of(a_host("a", CPU=3.0), a_host("b", CPU=2.0), a_host("c"))
    assert two.tasks_at_a_time(settings()) == 0
    assert two.tasks_at_a_time(settings(devices=4, devices_per_cell=2)) == 2
    for fields, field in (
        ({"devices": 6}, "devices: must be at most 5"),
        ({"devices_per_cell": 4}, "devices_per_cell: must be at most 3"),
        ({"devices": 3, "devices_per_cell": 2}, "devices_per_cell: must be a divisor"),
    ):
        with pytest.raises(UsageError, match=field):
            two.tasks_at_a_time(settings(**fields))
    with pytest.raises(UsageError, match="devices: must be at most 0"):
        cluster_of(a_host("a")).tasks_at_a_time(settings())


def test_a_task_that_ends_its_process_every_time_is_noticed():
    pytest.importorskip("ray")
    from benchmarks.harness.cluster.board import Board

    board = Board()
    for _ in range(9):
        assert board.begin(0, 100) == ""
        board.begin(1, 100)
    board.tell(1, 200, [], [])
    assert not board.look().stuck
    board.begin(0, 100)
    board.begin(1, 200)  # it came further
    assert board.look().stuck == {0}
    assert board.look().images == {0: 100, 1: 200}


@pytest.mark.parametrize("address", ["nowhere", "10.77.0.1", "[::1]:0", "127.0.0.1:99999", ":1"])
def test_no_cluster_at_the_address(command, address):
    pytest.importorskip("ray")
    began = time.monotonic()
    outcome = command("--cluster", address)
    assert time.monotonic() - began < 10
    assert outcome.status == 2
    assert outcome.err.startswith("error: cluster: must be ")
    assert outcome.err.count("\n") == 1


def test_something_else_is_at_the_address():
    pytest.importorskip("ray")
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.RequestHandlerClass.log_message = lambda *_: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"127.0.0.1:{server.server_port}"
    try:
        with pytest.raises(UsageError, match=f"a head of Ray, got {address}"), joined(address):
            pass
    finally:
        server.shutdown()
        server.server_close()


def other_jax(folder):
    """What to put before the path for another version of jax."""
    about = folder / "other" / "jax-0.0.1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: jax\nVersion: 0.0.1\n")
    return str(about.parent)


@pytest.mark.slow
@pytest.mark.optimised
def test_hosts_that_do_not_fit_are_named(lab):
    (lab.folder / "wide").mkdir()
    head, other, blind = (
        *lab.add(1),
        *lab.add(1, PYTHONPATH=f"{other_jax(lab.folder)}:{lab.environment['PYTHONPATH']}"),
        *lab.add(1),
    )
    mount = blind.start("mount", "-t", "tmpfs", "tmpfs", str(lab.folder / "wide"))
    assert mount.wait() == 0
    for host in lab.hosts:
        host.join()
    for host in lab.hosts:
        host.wait()
    run = head.start(*lab.study("--workdir", "wide", *FIELDS))
    _, complaint = run.communicate()
    assert run.returncode == 2
    last = complaint.strip().splitlines()[-1]
    assert last.startswith("error: cluster: hosts must fit, 10.77.0.2 has jax 0.0.1, not ")
    assert "; 10.77.0.3 does not see the work folder" in last
    assert "Traceback" not in complaint
    assert not list((lab.folder / "wide").glob("checkpoints/*"))

    # With another token, it does not join; and without a cluster of its own, auto finds none.
    lab.environment["RAY_AUTH_TOKEN"] = "0" * 64
    for address in (lab.address, "auto"):
        words = [word if word != lab.address else address for word in lab.study(*FIELDS)]
        run = (other if address == "auto" else head).start(*words)
        _, complaint = run.communicate()
        assert run.returncode == 2, complaint
        assert complaint.strip().splitlines()[-1].startswith("error: cluster: cannot join ")
        assert "Traceback" not in complaint


@pytest.mark.slow
@pytest.mark.optimised
def test_a_late_host_that_does_not_fit_is_left_out(lab, cells_in):
    (head,) = lab.up(1)
    run = head.start(*lab.study("--workdir", "wide", *FIELDS, "--config.checkpoint_seconds=1"))
    while not list((lab.folder / "wide").glob("checkpoints/*/*/*")):
        assert run.poll() is None, run.communicate()
        time.sleep(0.1)
    lab.up(1, PYTHONPATH=f"{other_jax(lab.folder)}:{lab.environment['PYTHONPATH']}")
    said, complaint = run.communicate()
    assert run.returncode == 0, complaint
    assert "a host is left out: it has jax 0.0.1" in said
    assert len(cells_in(lab.folder / "wide")) == 4
    assert not list((lab.folder / "wide").glob("checkpoints/*/attempt-10.77.0.2-*"))
