from pathlib import Path

import numpy as np
import pytest

from adiabat.campaigns.curation.label_noise import find_label_noise
from adiabat.core.errors import LabelError
from adiabat.data.readers import read_records
from adiabat.data.record import Record


@pytest.fixture(scope="module")
def ethanol() -> list[Record]:
    path = Path(__file__).resolve().parents[5] / "shared" / "data" / "rmd17" / "ethanol_train_01.xyz"
    if not path.exists():
        pytest.skip("no shared data")
    return read_records(path)[:40]


def with_labels(record: Record, **labels: np.ndarray) -> Record:
    return Record(record.structure, {**record.labels, **labels}, record.provenance)


def test_planted_wrong_labels_of_real_frames_are_named_and_good_ones_left_alone(ethanol: list[Record]):
    shifted = np.array(float(ethanol[7].labels["energy"]) + 0.3)
    flipped = np.array(ethanol[23].labels["forces"])
    flipped[4] *= -1
    planted = list(ethanol)
    planted[7] = with_labels(ethanol[7], energy=shifted)
    planted[23] = with_labels(ethanol[23], forces=flipped)
    planted[31] = with_labels(ethanol[31], **ethanol[12].labels)

    found = find_label_noise(planted)

    assert found.energy_suspects[0] == 7
    assert set(found.force_suspects) == {23, 31}
    assert set(found.suspects) == {7, 23, 31}
    assert found.energy_off[7] == pytest.approx(0.3, abs=0.1)
    clean = find_label_noise(ethanol)
    assert clean.suspects == [], "negative control: nothing is found where nothing was planted"
    assert clean.forces.max() < 3


def test_too_few_frames_are_refused(ethanol: list[Record]):
    with pytest.raises(LabelError, match="5 frames"):
        find_label_noise(ethanol[:5])
