"""Labels by hindsight: facts from the gripper's closings and openings, without annotation."""
