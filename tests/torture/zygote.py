"""A process that has imported all that a run needs, and makes a copy of itself for each run.

More than half of a short run is imports: without them there is time for more than twice as many.
"""

import dataclasses
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
from collections.abc import Mapping

ROOT = pathlib.Path(__file__).parents[2]
_PROGRAM = """
import json, os, resource, runpy, sys
import jax, matplotlib.pyplot, numpy, optax, orbax.checkpoint, sklearn.datasets
import benchmarks.harness.command, flaxdrop.models, flaxdrop.training.checkpoint
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if not child:
        os.setsid()
        for file, descriptor in (("/dev/null", 0), (order["out"], 1), (order["err"], 2)):
            os.dup2(os.open(file, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
        os.environ.update(order["env"])
        for name, limit in order["limits"].items():
            resource.setrlimit(getattr(resource, name), (limit, resource.RLIM_INFINITY))
        sys.argv = [order["module"], *order["arguments"]]
        runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
        sys.exit()
    print(child, flush=True)
    _, status, usage = os.wait4(child, 0)
    print(os.waitstatus_to_exitcode(status), usage.ru_maxrss, flush=True)
"""


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
      status: its exit status; that of a signal is negative.
      out: what it said on stdout.
      err: what it said on stderr.
      bytes: the most memory that it took.
    """

    status: int
    out: str
    err: str
    bytes: int


class Zygote:
    """Starts runs.

    Args:
      folder: an empty one: the runs start there.
      shim: a library to preload, or None.
    """

    def __init__(self, folder: pathlib.Path, shim: pathlib.Path | None) -> None:
        self.folder = folder
        env = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "FLAXDROP_CACHE": str(folder / "cache"),
            **({"LD_PRELOAD": str(shim)} if shim else {}),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            env=env,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        module: str,
        *arguments: str,
        seconds: float,
        env: Mapping[str, str] | None = None,
        limits: Mapping[str, int] | None = None,
    ) -> Ended:
        """Runs a command.

        Args:
          module: as after `python -m`.
          arguments: of its command line.
          seconds: after so many it is killed.
          env: variables of its environment, beside those of the session.
          limits: names of `resource`, as RLIMIT_FSIZE, to what they are set to.
        """
        files = {name: str(self.folder / name) for name in ("out", "err")}
        order = {"module": module, "arguments": arguments, "env": env or {}, **files}
        assert self._process.stdin is not None
        print(json.dumps({**order, "limits": limits or {}}), file=self._process.stdin, flush=True)
        child = int(self._line())
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            os.killpg(child, signal.SIGKILL)
        status, kilobytes = map(int, self._line().split())
        out, err = (pathlib.Path(file).read_text(errors="replace") for file in files.values())
        return Ended(status, out, err, 1024 * kilobytes)

    def _line(self) -> str:
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise RuntimeError("the process that starts the runs is gone")
        return line

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()
