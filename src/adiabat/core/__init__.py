"""Units, orbital conventions, the field registry and errors: the ground floor, which imports nothing of ours."""
