"""Inspection of training samples: a page, or Rerun, that shows what a policy will be taught."""
