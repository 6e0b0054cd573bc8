"""What is known and not learned: basis sets, overlap, H0 and reference energies."""
