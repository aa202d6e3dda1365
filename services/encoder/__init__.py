"""The encoder: texts and pictures in, unit vectors out."""
