"""Side-by-side measurements. They assert nothing, because machines differ."""
