"""Structures, labelled records, the dataset store, graphs, readers, audits and splits."""
