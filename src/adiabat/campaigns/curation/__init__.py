"""What a labelled data set is worth: subsets, duplicates, wrong labels, influence of frames, labels still needed."""
