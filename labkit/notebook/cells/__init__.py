"""Which cell is running, and how its work is shown or tried again."""
