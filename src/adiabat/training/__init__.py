"""The one trainer: energies, forces, stress and Hamiltonians, apart or together."""
