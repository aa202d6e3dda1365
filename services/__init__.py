"""What is deployed: one package a process, and what they share. Never part of the wheel."""
