"""Ways of executing chunks: synchronous, or with the next chunk asked for while the robot moves."""
