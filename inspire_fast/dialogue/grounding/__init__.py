"""Grounding: from an instruction to the phrases that name its targets, by a grammar or by InSpire's released list."""
