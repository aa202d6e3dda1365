"""The whole cluster as processes of one machine: for trying out, for tests, and for measurements."""
