"""Where facts come from: demonstrations recorded in a simulator with the truth about every target at every step."""
