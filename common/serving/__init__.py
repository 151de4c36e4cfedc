"""Export saved models to other formats, and serve them over HTTP."""
