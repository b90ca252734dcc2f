import pytest

TABLE = ("--config.epochs=3", "--config.seeds=2", "--config.variants=none,p0,p6")


@pytest.mark.optimised
def test_a_table_trained_over_two_hosts_is_the_serial_one(lab, command, digests_in, rows_in):
    head, other = lab.add(2)
    head.join()
    other.join()
    assert command("--workdir", "serial", *TABLE).status == 0  # while they start
    head.wait()
    other.wait()
    study = head.start(*lab.study("--workdir", "wide", "--tensorboard", *TABLE))
    said, complaint = study.communicate()
    assert study.returncode == 0, complaint
    serial, wide = lab.folder / "serial", lab.folder / "wide"
    assert len(rows_in(wide)) == 6
    assert digests_in(wide) == digests_in(serial)
    assert "6 cells to train, 0 finished before, on 2 devices (CPU) of 2 hosts" in said
    for left in ("Traceback", "raylet", "WARNING", "rpc"):
        assert left not in said + complaint
    # The table is shown again, without the cluster: nothing is left to train.
    assert command("--workdir", "wide", *TABLE).status == 0
    assert not list(wide.glob(".storage*"))
    assert len(list(wide.glob("tensorboard/*/*"))) == 6
