"""Active learning as a campaign: explore, select, label, retrain, test, stop, with every state on disk."""
