"""adiabat: one equivariant model for the potential-energy surface and the electronic Hamiltonian."""

__version__ = "0.1.0"
