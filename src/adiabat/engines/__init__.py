"""Reference calculators: a structure in, labels and their provenance out."""
