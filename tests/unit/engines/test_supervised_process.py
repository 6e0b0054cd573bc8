import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adiabat.engines.supervised_process import ProgramTimeoutError, scratch_folder

ENVIRONMENT = dict(os.environ)
SLEEPER = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_output_and_exit_code_come_back_and_nothing_stays():
    with scratch_folder("adiabat-test-") as scratch:
        (scratch.path / "note").write_text("here")
        code = scratch.run(
            [sys.executable, "-c", "print(open('note').read()); raise SystemExit(3)"], ENVIRONMENT, timeout=30
        )
        assert code == 3
        assert (scratch.path / "stdout").read_text() == "here\n"
    assert not scratch.path.exists()


def test_a_program_that_is_killed_tells_its_signal():
    with scratch_folder("adiabat-test-") as scratch:
        command = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
        assert scratch.run(command, ENVIRONMENT, timeout=30) == -signal.SIGKILL


def test_a_program_that_takes_too_long_is_ended():
    with scratch_folder("adiabat-test-") as scratch:
        with pytest.raises(ProgramTimeoutError):
            scratch.run(SLEEPER, ENVIRONMENT, timeout=1.0)
        pid = int((scratch.path / "stdout").read_text())
        assert is_alive(pid)
    assert wait_until(lambda: not is_alive(pid))
    assert not scratch.path.exists()


def test_an_error_of_ours_ends_the_program_and_removes_the_folder():
    def fail() -> None:
        with scratch_folder("adiabat-test-") as scratch:
            folders.append(scratch.path)
            raise KeyError("ours")

    folders: list[Path] = []
    with pytest.raises(KeyError, match="ours"):
        fail()
    assert not folders[0].exists()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_parent_leaves_neither_program_nor_folder(how, tmp_path):
    script = (
        "import os, sys\n"
        "from adiabat.engines.supervised_process import scratch_folder\n"
        "with scratch_folder('adiabat-test-') as scratch:\n"
        "    print(scratch.path, flush=True)\n"
        "    program = 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'\n"
        "    scratch.run([sys.executable, '-c', program], dict(os.environ), None)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    with parent:
        folder = Path(parent.stdout.readline().strip())
        output = folder / "stdout"
        assert wait_until(lambda: output.exists() and output.read_text().strip())
        pid = int(output.read_text())
        assert is_alive(pid)
        parent.send_signal(how)
        parent.wait()
    assert wait_until(lambda: not is_alive(pid) and not folder.exists())
