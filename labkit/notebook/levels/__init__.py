"""Each lesson's cell real, rootless or recorded: what this machine allows."""
