"""How Sightline is deployed: images, chart, dashboards, and a cluster to prove them on."""
