"""SimplerEnv: tasks, and the simulator as an `Environment`, for WidowX (ManiSkill 3) and Google Robot (ManiSkill 2)."""
