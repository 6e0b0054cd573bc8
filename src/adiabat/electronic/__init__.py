"""What follows from H and S alone: orbitals, densities, charges, dipoles. Tensors in, tensors out."""
