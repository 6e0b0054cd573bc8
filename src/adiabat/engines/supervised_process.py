"""A program run in a scratch folder that goes with us: whatever kills us ends the program and removes the folder.

Run as a script it is the supervisor: it starts the program, tells its exit code, and lives until its standard input
closes, which happens however its parent ends, kill −9 included. It then ends the program and removes the folder.
"""

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


class ProgramTimeoutError(Exception):
    """The program ran longer than it was given."""


class ScratchFolder:
    """A folder, and the right to run one program in it.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path, supervisor: "subprocess.Popen[bytes]") -> None:
        self.path = path
        self._supervisor = supervisor

    def run(self, command: Sequence[str], environment: Mapping[str, str], timeout: float | None) -> int:
        """Run a program to its end, its output in ``stdout`` and ``stderr`` of the folder.

        Args:
            command: program and arguments.
            environment: all of it.
            timeout: seconds; None to wait as long as it takes.

        Returns: its exit code, negative for a signal.

        Raises:
            ProgramTimeoutError: it did not end in time.
        """
        assert self._supervisor.stdin is not None
        assert self._supervisor.stdout is not None
        order = json.dumps([list(command), dict(environment)]).encode() + b"\n"
        self._supervisor.stdin.write(order)
        self._supervisor.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self._supervisor.stdout, selectors.EVENT_READ)
            if not selector.select(timeout):
                raise ProgramTimeoutError
        return int(self._supervisor.stdout.readline() or -signal.SIGKILL)


@contextmanager
def scratch_folder(prefix: str) -> Generator[ScratchFolder]:
    """A folder for one program, removed at the end."""
    path = Path(tempfile.mkdtemp(prefix=prefix))
    supervisor = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C in the terminal is our business
    )
    with supervisor:
        yield ScratchFolder(path, supervisor)


def _supervise(folder: str) -> None:
    program: subprocess.Popen[bytes] | None = None
    try:
        line = sys.stdin.buffer.readline()
        if line:
            command, environment = json.loads(line)
            with (Path(folder) / "stdout").open("wb") as out, (Path(folder) / "stderr").open("wb") as err:
                program = subprocess.Popen(
                    command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                    start_new_session=True,
                )  # fmt: skip
            _until_either_ends(program)
    finally:
        if program is not None and program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
            program.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _until_either_ends(program: "subprocess.Popen[bytes]") -> None:
    """Report the end of the program; return when the parent has gone or wants no more."""
    ended = os.pidfd_open(program.pid) if hasattr(os, "pidfd_open") else None
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        if ended is not None:
            selector.register(ended, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _mask in selector.select(None if ended is not None else 0.05)}
            if sys.stdin in ready:
                return
            if program.poll() is not None:
                print(program.returncode, flush=True)
                sys.stdin.buffer.read()
                return


if __name__ == "__main__":
    _supervise(sys.argv[1])
