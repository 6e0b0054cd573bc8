"""adiabat: one equivariant model for the potential-energy surface and the electronic Hamiltonian."""
