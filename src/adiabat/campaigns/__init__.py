"""Work that outlives a process: labelling, evaluation, and the quickstart that chains them."""
