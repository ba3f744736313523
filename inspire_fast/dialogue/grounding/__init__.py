"""Grounding: an instruction's phrases, the objects that they name, and InSpire's released phrase list."""
