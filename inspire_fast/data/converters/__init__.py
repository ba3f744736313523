"""Converters of foreign datasets into LeRobot's format: RLDS, InSpire's folders, LeRobot copies."""
