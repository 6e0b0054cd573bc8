"""Pages and figures, made from saved results alone."""
