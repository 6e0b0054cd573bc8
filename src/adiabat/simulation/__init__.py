"""What a trained model is for: an ASE calculator, molecular dynamics, and the electrons along the way."""
