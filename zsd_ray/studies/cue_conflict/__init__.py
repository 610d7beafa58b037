"""Shape bias, from images whose shape and texture disagree."""
