"""An editable install is found from any folder, also from the one that holds the clone."""

import os
import pathlib
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).parents[1]


def test_a_clone_called_flaxdrop_does_not_hide_the_package(tmp_path):
    # With this, setuptools installs a path file instead of a finder that comes too late.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["package-dir"] == {"": "."}
    installed = tmp_path / "site-packages"
    installed.mkdir()
    (installed / "flaxdrop.pth").write_text(f"{ROOT}\n")
    (tmp_path / "flaxdrop").symlink_to(ROOT, target_is_directory=True)
    program = f"import site; site.addsitedir({str(installed)!r}); import flaxdrop; "
    done = subprocess.run(
        [sys.executable, "-c", program + "print(flaxdrop.__file__, flaxdrop.Dropout)"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(ROOT / "flaxdrop" / "__init__.py") in done.stdout
