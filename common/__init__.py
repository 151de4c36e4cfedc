"""What every app shares: data, preprocessing, layers, training, tracking, reports and the command line."""
