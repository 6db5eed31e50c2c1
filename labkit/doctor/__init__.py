"""What this machine allows, found by trying, and why not: labkit doctor."""
