"""Trunks, heads, their assembly and derivatives, and the model package on disk."""
