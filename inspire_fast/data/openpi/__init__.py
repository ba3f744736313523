"""openpi's dict transforms, for InSpire inside openpi's own training."""
