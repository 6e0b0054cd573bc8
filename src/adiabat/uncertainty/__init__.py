"""How far a prediction can be trusted: ensembles, the last layer's posterior, calibration."""
