"""The command labkit."""
