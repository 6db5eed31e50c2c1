"""A finished file of each stage, as text: the smallest that reaches it."""
