"""The indexer: pictures in, published generations out."""
