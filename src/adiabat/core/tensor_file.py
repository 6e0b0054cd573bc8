"""Files of ours that hold tensors: safetensors with JSON texts in the header, versioned, never pickle."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from adiabat.core.atomic_file import write_atomically
from adiabat.core.errors import FileFormatError, SchemaVersionError


@dataclass(frozen=True)
class TensorFile:
    """One kind of file, told from all others by its header.

    Attributes:
        kind: what it is called, in the header and in errors: ``adiabat model``.
        schema_version: version of its layout.
        expected: which file a user should have given.
        confusion: what to do when it is a sound file of another kind.
        remedy: what to do about one that is missing or damaged.
        other_version: what to do about one of another version.
    """

    kind: str
    schema_version: int
    expected: str
    confusion: str
    remedy: str
    other_version: str

    def write(self, path: Path, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> None:
        """Write atomically.

        Args:
            path: the file.
            tensors: contiguous, on the CPU, none sharing memory with another.
            texts: further entries of the header.
        """
        header = {"format": self.kind, "schema_version": str(self.schema_version), **texts}
        write_atomically(path, save(dict(tensors), header))

    def read(self, path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Read what :meth:`write` wrote: tensors and header.

        Raises:
            FileFormatError: there is no such file, or it is damaged or of another kind.
            SchemaVersionError: it was written under another version.
        """
        try:
            with safe_open(path, framework="pt") as file:
                header: dict[str, str] = file.metadata() or {}
                self._check(path, header)
                tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise FileFormatError(
                f"{path}, which cannot be read as an {self.kind}: {error}",
                expected=self.expected,
                suggestion=self.remedy,
            ) from error
        return tensors, header

    def _check(self, path: Path, header: Mapping[str, str]) -> None:
        if header.get("format") != self.kind:
            raise FileFormatError(
                f"{path}, a safetensors file that is no {self.kind} (format {header.get('format')!r})",
                expected=self.expected,
                suggestion=self.confusion,
            )
        if header.get("schema_version") != str(self.schema_version):
            raise SchemaVersionError(
                f"{path} with {self.kind} schema version {header.get('schema_version')}",
                expected=f"schema version {self.schema_version}",
                suggestion=self.other_version,
            )


def kind_of_tensor_file(path: Path) -> str | None:
    """The kind that a safetensors file says it is; None where it says nothing, or cannot be read as one."""
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, str] = file.metadata() or {}
    except (SafetensorError, OSError):
        return None
    return header.get("format")
