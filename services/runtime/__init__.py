"""What every process shares: settings, logs, metrics, server, channels, batching, ranking."""
