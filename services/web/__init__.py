"""The web process: HTTP and JSON over the SDK, and the page."""
