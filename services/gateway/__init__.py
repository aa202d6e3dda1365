"""The gateway: cache → encode → fan out → merge → reply."""
