"""How candidates for labels are made: dynamics, displacements, normal modes, strains, other people's trajectories."""
