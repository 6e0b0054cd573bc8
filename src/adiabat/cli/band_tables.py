"""Tables that ``adiabat bands``, ``adiabat dos`` and ``adiabat fermi`` print."""

from collections.abc import Iterator

import numpy as np
from rich.table import Table
from rich.text import Text

from adiabat.data.band_structure import BandEdges, BandStructure
from adiabat.data.dos_result import DensityOfStates


def bands_table(bands: BandStructure) -> Table:
    """What was found, a row each."""
    table = _table(f"Bands of {bands.metadata.get('formula', 'a crystal')}")
    _source(table, bands)
    table.add_row("path", f"{'–'.join(bands.tick_labels)}, {len(bands.k_frac)} points")
    _level(table, bands)
    if bands.edges is not None:
        for name, value in _edges(bands.edges, bands):
            table.add_row(name, value)
    if np.isfinite(bands.smallest_overlap).any():
        smallest = float(np.nanmin(bands.smallest_overlap))
        amplified = f", errors of H amplified up to {1 / smallest:.2g} times" if smallest > 0 else ""
        table.add_row("λ_min of S(k)", f"{smallest:.3g}{amplified}")
        table.add_row("states dropped", f"{int(bands.n_dropped.max())} at most at one k")
    if bands.reference is not None and bands.reference.comparison is not None:
        comparison = bands.reference.comparison
        low, high = comparison.window
        table.add_row("reference", Text(bands.reference.source))
        table.add_row(
            "rms difference",
            f"{1000 * comparison.rms:.2f} meV, {1000 * comparison.rms_shifted:.2f} meV after a shift of "
            f"{1000 * comparison.shift:+.2f} meV, largest {1000 * comparison.largest:.2f} meV",
        )
        table.add_row("", f"{comparison.n_states} states from {low:+g} to {high:+g} eV about the reference's E_F")
    _notes(table, bands.notes)
    return table


def dos_table(dos: DensityOfStates) -> Table:
    """What was found, a row each."""
    table = _table(f"Density of states of {dos.metadata.get('formula', 'a crystal')}")
    _source(table, dos)
    width = f", {dos.width:g} eV" if dos.width else ""
    table.add_row("method", f"{dos.method}{width}, {len(dos.grid)} energies")
    _level(table, dos)
    if dos.edges is not None:
        table.add_row("gap", _gap(dos.edges))
    if dos.fermi_level is not None and dos.grid[0] < dos.fermi_level < dos.grid[-1]:
        counted = float(np.interp(dos.fermi_level, dos.grid, dos.integrated))
        at_level = float(np.interp(dos.fermi_level, dos.grid, dos.total.sum(axis=0)))
        table.add_row("electrons below", f"{counted:.4f} from {dos.grid[0]:.2f} eV up to the Fermi level")
        table.add_row("DOS at E_F", f"{at_level:.4g} states/eV/cell")
    if dos.projections:
        table.add_row("projected on", Text(", ".join(dos.projections)))
    _notes(table, dos.notes)
    return table


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _source(table: Table, result: BandStructure | DensityOfStates) -> None:
    method = result.metadata.get("method")
    table.add_row("source", Text(f"{result.metadata.get('source', '')}{f' ({method})' if method else ''}"))


def _level(table: Table, result: BandStructure | DensityOfStates) -> None:
    metadata = result.metadata
    if result.n_electrons is not None:
        table.add_row("electrons", f"{result.n_electrons:g}")
    mesh = "×".join(map(str, metadata.get("mesh", ())))
    if result.fermi_level is not None:
        where = "middle of the gap" if result.edges is not None else f"metal, {metadata.get('smearing', '')}"
        table.add_row("Fermi level", f"{result.fermi_level:.4f} eV ({where}{f'; {mesh} k-mesh' if mesh else ''})")


def _edges(edges: BandEdges, bands: BandStructure) -> Iterator[tuple[str, str]]:
    names = [f" {bands.channel_names[channel]}" if len(bands.energies) == 2 else "" for channel in edges.channels]
    yield "gap", _gap(edges)
    yield "VBM", f"{edges.vbm:.4f} eV at {bands.label_of(edges.k_vbm)}{names[0]}"
    yield "CBM", f"{edges.cbm:.4f} eV at {bands.label_of(edges.k_cbm)}{names[1]}"
    if not edges.is_direct:
        yield "direct gap", f"{edges.direct_gap:.4f} eV at {bands.label_of(edges.k_direct)}"


def _gap(edges: BandEdges) -> str:
    return f"{edges.gap:.4f} eV, {'direct' if edges.is_direct else 'indirect'}"


def _notes(table: Table, notes: tuple[str, ...]) -> None:
    for note in notes:
        table.add_row("note", Text(note))
