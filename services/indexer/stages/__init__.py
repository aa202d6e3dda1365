"""The stages of a build: read → encode → train → fill, each by shares, then seal. See services.indexer.work."""
