"""What moves on the page: the map, the chooser, the stepper, the terminal, the switch."""
