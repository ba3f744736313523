"""openpi's transforms: InSpire inside openpi's own training, and helpers that the golden vectors compare."""
