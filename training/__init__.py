"""Makes and judges the bundled model; never part of a served image."""
