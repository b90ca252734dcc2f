import importlib.metadata
import platform
import re
import subprocess

import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop.results.provenance import config_hash, digest, git_revision, versions


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with one commit, on its own whatever hook or configuration is around."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "--quiet")
    (root / "code.py").write_text("x = 1\n")
    (root / ".gitignore").write_text("ignored/\n")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--no-verify", "-m", "first")
    return root


def git(root, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false"]
    hooks = ["-c", "core.hooksPath=/dev/null"]
    command = ["git", "-C", str(root), *identity, *hooks, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_versions_are_those_installed():
    found = versions()
    assert found["python"] == platform.python_version()
    assert found["jax"] == importlib.metadata.version("jax")
    assert all(isinstance(version, str) and version for version in found.values())


def test_a_package_that_is_not_installed_is_unknown(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert versions()["flaxdrop"] == "unknown"


def test_the_revision_is_the_commit(repository):
    commit = git(repository, "rev-parse", "HEAD")
    assert git_revision(repository) == commit
    assert re.fullmatch(r"[0-9a-f]{40}", commit)


@pytest.mark.parametrize("name", ["code.py", "new.py"])
def test_a_changed_or_a_new_file_is_dirty(repository, name):
    commit = git_revision(repository)
    (repository / name).write_text("x = 2\n")
    assert git_revision(repository) == commit + "-dirty"


def test_what_is_besides_the_sources_is_no_change(repository):
    commit = git_revision(repository)
    (repository / "results").mkdir()
    (repository / "results" / "new.jsonl").write_text("1\n")
    assert git_revision(repository) == commit + "-dirty"
    assert git_revision(repository, besides=["results"]) == commit
    assert git_revision(repository / "results", besides=["results"]) == "unknown"
    (repository / "code.py").write_text("x = 2\n")
    assert git_revision(repository, besides=["results"]) == commit + "-dirty"


def test_an_ignored_file_is_no_change(repository):
    commit = git_revision(repository)
    (repository / "ignored").mkdir()
    (repository / "ignored" / "result").write_text("1\n")
    assert git_revision(repository) == commit


def test_the_surrounding_git_variables_do_not_matter(repository, monkeypatch, tmp_path):
    commit = git_revision(repository)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert git_revision(repository) == commit


def test_a_directory_that_the_repository_does_not_track_is_unknown(repository):
    inner = repository / "ignored" / "site-packages"
    inner.mkdir(parents=True)
    (inner / "code.py").write_text("x = 1\n")
    assert git_revision(inner) == "unknown"


def test_without_repository_commit_directory_or_git_it_is_unknown(tmp_path, monkeypatch):
    assert git_revision(tmp_path) == "unknown"
    assert git_revision(tmp_path / "missing") == "unknown"
    git(tmp_path, "init", "--quiet")
    assert git_revision(tmp_path) == "unknown"
    monkeypatch.setenv("PATH", "")
    assert git_revision(tmp_path) == "unknown"


def test_the_hash_does_not_depend_on_order_or_on_tuples():
    assert config_hash({"a": 1, "b": {"c": (1, 2), "d": None}}) == config_hash(
        {"b": {"d": None, "c": [1, 2]}, "a": 1}
    )


@pytest.mark.parametrize("other", [{"a": 2}, {"a": 1.0}, {"a": "1"}, {"b": 1}, {"a": 1, "b": None}])
def test_the_hash_tells_configs_apart(other):
    assert config_hash({"a": 1}) != config_hash(other)
    assert re.fullmatch(r"[0-9a-f]{12}", config_hash(other))


@pytest.mark.parametrize("value", [object(), float("nan"), {1, 2}])
def test_a_config_that_is_not_plain_json_is_refused(value):
    with pytest.raises(ValueError, match=r"config: .*, must be plain JSON"):
        config_hash({"a": value})


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int32", "uint8", "bool"])
def test_the_digest_is_the_same_for_numpy_and_jax(dtype):
    array = jnp.arange(6).reshape(2, 3).astype(dtype)
    tree = {"params": {"w": array}, "batch_stats": [array[0], array[1, 1]]}
    plain = {"params": {"w": np.asarray(array)}, "batch_stats": [np.asarray(array[0]), array[1, 1]]}
    assert digest(tree) == digest(plain)
    assert re.fullmatch(r"[0-9a-f]{64}", digest(tree))


def test_the_digest_does_not_depend_on_order_or_on_memory_layout():
    a, b = np.arange(6.0).reshape(2, 3), np.ones(2)
    assert digest({"a": a, "b": b}) == digest({"b": b, "a": np.asfortranarray(a)})


@pytest.mark.parametrize(
    "other",
    [
        {"a": np.array([1, 2], np.int32)},
        {"a": np.array([1, 2], np.float32).reshape(2, 1)},
        {"a": np.array([1, np.nextafter(np.float32(2), np.float32(3))], np.float32)},
        {"b": np.array([1, 2], np.float32)},
        {"a": [np.array([1, 2], np.float32)]},
        {"a": np.array([1, 2], np.float32), "b": np.zeros(0, np.float32)},
        {},
    ],
)
def test_the_digest_tells_path_dtype_shape_and_every_bit(other):
    assert digest({"a": np.array([1, 2], np.float32)}) != digest(other)


def test_zeros_of_either_sign_differ():
    assert digest(np.float32(0.0)) != digest(np.float32(-0.0))
