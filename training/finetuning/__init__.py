"""Adapting a model of open_clip to a domain or a language: from a table of images and captions to a model's folder."""
