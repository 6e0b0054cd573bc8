"""Hamiltonians and overlaps of crystals in the files of other codes, read into our conventions."""
