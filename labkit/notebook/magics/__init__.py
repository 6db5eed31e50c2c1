"""%%child and %docker."""
