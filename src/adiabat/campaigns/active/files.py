"""Where things stand in a campaign's directory."""

from dataclasses import dataclass
from pathlib import Path

from adiabat.campaigns.active.database import DATABASE


@dataclass(frozen=True)
class CampaignFiles:
    """Paths of one campaign.

    Attributes:
        directory: the campaign's.
    """

    directory: Path

    @property
    def database(self) -> Path:
        """All that is known."""
        return self.directory / DATABASE

    @property
    def config(self) -> Path:
        """The configuration, to be read again by every run."""
        return self.directory / "campaign.yaml"

    @property
    def train_store(self) -> Path:
        """Labels to learn from."""
        return self.directory / "data" / "train.lmdb"

    @property
    def test_store(self) -> Path:
        """Labels to test on."""
        return self.directory / "data" / "test.lmdb"

    @property
    def model(self) -> Path:
        """The last round's model, with its uncertainty if it has one."""
        return self.directory / "model.safetensors"

    @property
    def report(self) -> Path:
        """The page."""
        return self.directory / "report.html"

    def round(self, number: int) -> Path:
        """Folder of a round."""
        return self.directory / "rounds" / f"{number:03d}"

    def result(self, number: int, stage: str) -> Path:
        """What a stage of a round left for the driver."""
        return self.round(number) / f"{stage}.json"

    def run(self, number: int, member: int) -> Path:
        """Training run of a member."""
        return self.round(number) / f"member-{member}"

    def member_model(self, number: int, member: int) -> Path:
        """Trained model of a member."""
        return self.run(number, member) / "model.safetensors"

    def round_model(self, number: int) -> Path:
        """Model of a round, with its uncertainty if it has one."""
        return self.round(number) / "model.safetensors"
