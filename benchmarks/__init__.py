"""Side-by-side measurements. Not tests: machines differ, so each prints ratios of medians and asserts nothing."""
