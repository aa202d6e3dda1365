"""The encoder: words and pictures to unit vectors."""
