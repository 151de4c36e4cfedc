"""Programs that do the work of a command without the suite, as their libraries' users write them."""
