"""Every word that is said to or by the model: scripts with blanks, the one renderer, questions, grounding."""
