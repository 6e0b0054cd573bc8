"""Tables that ``adiabat bands``, ``adiabat dos`` and ``adiabat fermi`` print."""

from collections.abc import Iterator

import numpy as np
from rich.table import Table
from rich.text import Text

from adiabat.data.band_structure import BandEdges, BandStructure, point_name
from adiabat.data.dos_result import DensityOfStates
from adiabat.data.fermi_result import FermiResult


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


def fermi_table(result: FermiResult) -> Table:
    """What was found, a row each."""
    table = _table(f"Fermi level of {result.metadata.get('formula', 'a crystal')}")
    _source(table, result)
    _level(table, result)
    if result.low is not None and result.high is not None:
        table.add_row("", f"{result.low:.4f} to {result.high:.4f} eV, one standard error of the electron count")
    if result.edges is not None:
        table.add_row("gap", _gap(result.edges))
        for name, energy, k in (
            ("VBM", result.edges.vbm, result.edges.k_vbm),
            ("CBM", result.edges.cbm, result.edges.k_cbm),
        ):
            table.add_row(name, f"{energy:.4f} eV at {point_name(k)}")
        if not result.edges.is_direct:
            table.add_row("direct gap", f"{result.edges.direct_gap:.4f} eV at {point_name(result.edges.k_direct)}")
    elif result.method == "diagonalization":
        table.add_row("gap", "none: a metal")
    if result.homo is not None and result.lumo is not None:
        table.add_row(
            "HOMO, LUMO", f"{result.homo:.4f} and {result.lumo:.4f} eV at Γ, {result.lumo - result.homo:.4f} apart"
        )
    for name, energies in zip(("↑", "↓") if len(result.states) == 2 else ("",), result.states, strict=False):
        table.add_row(f"states {name}".strip(), " ".join(f"{energy:.4f}" for energy in energies))
    if result.smallest_overlap is not None:
        table.add_row("λ_min of S(k)", f"{result.smallest_overlap:.3g}")
        table.add_row("states dropped", f"{result.n_dropped} at most at one k")
    _notes(table, result.notes)
    return table


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _source(table: Table, result: BandStructure | DensityOfStates | FermiResult) -> None:
    method = result.metadata.get("method")
    table.add_row("source", Text(f"{result.metadata.get('source', '')}{f' ({method})' if method else ''}"))


def _level(table: Table, result: BandStructure | DensityOfStates | FermiResult) -> None:
    metadata = result.metadata
    if result.n_electrons is not None:
        table.add_row("electrons", f"{result.n_electrons:g}")
    mesh = "×".join(map(str, metadata.get("mesh", ())))
    if result.fermi_level is not None:
        where = "middle of the gap" if result.edges is not None else f"metal, {metadata.get('smearing', '')}"
        if isinstance(result, FermiResult) and result.method == "states":
            where = "middle of HOMO and LUMO"
        elif metadata.get("n_vectors"):
            where = f"{metadata['n_vectors']} random vectors"
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
