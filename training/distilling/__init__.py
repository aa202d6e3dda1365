"""A small student on a teacher's vectors: from captions to a folder that the encoder runs without torch."""
