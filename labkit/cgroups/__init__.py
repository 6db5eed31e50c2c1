"""Control groups: which hierarchies are mounted, and where we are in them."""
