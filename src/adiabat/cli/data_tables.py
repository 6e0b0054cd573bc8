"""Tables that ``adiabat data inspect`` prints."""

from collections import Counter

import numpy as np
from rich.table import Table
from rich.text import Text

from adiabat.core.fields import FIELDS
from adiabat.core.operators import BlockOperator
from adiabat.data.record import Record
from adiabat.data.store import DatasetStore


def store_table(store: DatasetStore) -> Table:
    """What a store holds, a row each."""
    table = _table(store.path.name)
    meta = store.meta
    table.add_row("records", str(len(store)))
    table.add_row("schema", f"version {meta['schema_version']}, made by {meta['created_by']}")
    table.add_row("hash", store.content_hash)
    table.add_row("size", f"{(store.path / 'data.mdb').stat().st_size / 1e6:.2f} MB")
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("elements", "labels", "methods", "sources")}
    sizes = []
    for record in store:
        provenance = record.provenance
        sizes.append(record.structure.n_atoms)
        counts["elements"].update(set(record.structure.symbols))
        counts["labels"].update(name for name in FIELDS if name in record.labels)
        counts["methods"][
            f"{provenance.method or 'not named'} by {provenance.code} {provenance.code_version}".strip()
        ] += 1
        counts["sources"][provenance.source or "not named"] += 1
    if sizes:
        table.add_row("atoms", f"{min(sizes)}–{max(sizes)} a structure, {sum(sizes)} in all")
    for name, counter in counts.items():
        lines = [f"{text} ({count})" for text, count in counter.most_common(12)]
        table.add_row(name, Text(", ".join(lines) if name in ("elements", "labels") else "\n".join(lines)))
    return table


def record_table(record: Record, index: int) -> Table:
    """One record, a row a property."""
    structure, provenance = record.structure, record.provenance
    table = _table(f"record {index}: {structure.formula}")
    table.add_row("periodic", "".join(axis for axis, on in zip("xyz", structure.pbc, strict=True) if on) or "no")
    table.add_row("charge, spin", f"{structure.charge:+d} e, {structure.spin} unpaired electrons")
    for name, value in record.labels.items():
        unit = FIELDS[name].unit
        if isinstance(value, BlockOperator):
            text = f"{len(value)} atom pairs, {int(value.n_orbitals.sum())} orbitals [{unit}]"
        elif value.shape == ():
            text = f"{float(value):.8g} {unit}"
        else:
            text = f"{' × '.join(map(str, value.shape))}, rms {np.sqrt(np.mean(value**2)):.4g} {unit}"
        table.add_row(name, Text(text))
    for name, text in provenance.to_json().items():
        if text and name != "orbital_basis":
            table.add_row(name, Text(str(text)))
    if provenance.orbital_basis is not None:
        table.add_row("basis", Text(provenance.orbital_basis.name))
    for name, value in structure.info.items():
        table.add_row(f"info: {name}", Text(str(value)))
    table.add_row("key", record.key)
    return table


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    return table
