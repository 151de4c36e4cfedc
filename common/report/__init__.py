"""The page of a run: one HTML file with its results, figures, diagnosis and commands."""
