"""kill −9 of a campaign's driver before and after every commit: the same data set, and no label computed twice."""

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from adiabat.campaigns.active.database import Database
from adiabat.data.store import DatasetStore
from small_campaigns import campaign_config, finished_calls

SUPPORT = Path(__file__).resolve().parents[2] / "support"

# Every run lives in a process of its own, and the imports are paid for once. A run dies at the first commit at a place
# where none died yet: a place is who commits, in which phase of which round, with how many labels there.
DRIVER = """
import os, signal, sys
sys.path.insert(0, {support!r})
from pathlib import Path
import small_campaigns
from adiabat.campaigns.active.creation import create_campaign
from adiabat.campaigns.active.database import Database
from adiabat.campaigns.active.driver import run_campaign

folder, moment = Path({folder!r}), {moment!r}
config = small_campaigns.campaign_config(folder, initial={{"n": 4}}, select={{"n": 2}}, stop={{"max_rounds": 1}})
create_campaign(config, folder / "campaign")
commit = Database._commit
places = folder / "places"

def die(place):
    with places.open("a") as file:
        file.write(place + "\\n")
        file.flush()
    if moment != "never":
        os.kill(os.getpid(), signal.SIGKILL)

def dying(self):
    frame = sys._getframe(1)
    while frame.f_code.co_filename.endswith(("database.py", "contextlib.py")):
        frame = frame.f_back
    now = self.row("SELECT number, phase FROM rounds ORDER BY number DESC")
    labels = self.number("SELECT COUNT(*) FROM labels")
    place = f"{{frame.f_code.co_name}} {{now['number']}} {{now['phase']}} {{labels}}"
    new = not places.exists() or place not in places.read_text().splitlines()
    if new and moment == "before":
        die(place)
    commit(self)
    if new and moment != "before":
        die(place)

runs = 0
while True:
    child = os.fork()
    if not child:
        Database._commit = dying
        run_campaign(folder / "campaign")
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    runs += 1
    if status == 0:
        break
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
    assert runs < 200
print(runs)
"""


def run(folder: Path, moment: str) -> int:
    code = DRIVER.format(support=str(SUPPORT), folder=str(folder), moment=moment)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return int(result.stdout.split()[-1])


def hashes(folder: Path) -> list[tuple[int, str]]:
    found = []
    for name in ("train", "test"):
        with DatasetStore.open(folder / "campaign" / "data" / f"{name}.lmdb") as store:
            found.append((len(store), store.content_hash))
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run(folder, "never") == 1
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_every_commit_it_ends_with_the_same_data_and_no_label_twice(
    undisturbed: Path, tmp_path: Path, moment: str
) -> None:
    shutil.copy(undisturbed / "starts.xyz", tmp_path)
    n_runs = run(tmp_path, moment)
    places = (tmp_path / "places").read_text().splitlines()
    assert n_runs == len(places) + 1
    assert set(places) >= set((undisturbed / "places").read_text().splitlines())
    assert hashes(tmp_path) == hashes(undisturbed)
    assert hashes(tmp_path)[0][0] == 5  # and they are not empty
    assert max(Counter(finished_calls(tmp_path)).values()) == 1
    assert sorted(finished_calls(tmp_path)) == sorted(finished_calls(undisturbed))
    database = Database(tmp_path / "campaign" / "campaign.sqlite", readonly=True)
    assert database.number("SELECT COUNT(*) FROM jobs WHERE status = 'done'") == 6
    database.close()


def test_a_label_that_is_not_spooled_would_be_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: without the spool, a kill between the engine and the database repeats the label."""
    from adiabat.campaigns.active.creation import create_campaign
    from adiabat.campaigns.active.driver import run_campaign
    from adiabat.campaigns.active.spool import Spool

    create_campaign(campaign_config(tmp_path), tmp_path / "campaign")

    def lose(self: Spool, *_label: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Spool, "write_label", lose)
        with pytest.raises(KeyboardInterrupt):
            run_campaign(tmp_path / "campaign")
    run_campaign(tmp_path / "campaign")
    assert max(Counter(finished_calls(tmp_path)).values()) == 2
