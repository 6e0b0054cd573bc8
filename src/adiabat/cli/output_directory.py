"""Whether a directory can take results, asked before hours of work and not after."""

from pathlib import Path

from adiabat.core.errors import ConfigError


def check_output_directory(path: Path) -> None:
    """Refuse a name, or a parent of it, that a file has already.

    Raises:
        ConfigError: a file stands where a directory is needed.
    """
    for part in (path, *path.parents):
        if part.exists() and not part.is_dir():
            raise ConfigError(
                f"{part}, which is a file",
                expected=f"a directory, new or old, for the results in {path}",
                suggestion="name another directory with -o",
            )
