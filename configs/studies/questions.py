"""Study of spatial questions at small size: do they help, in which place, with which action tokens, and are they used?

Launch: uv run scripts/study.py questions (docs/study.md; hours on two CPU cores, each command continues)

Seen tasks are five of LIBERO-Object. Of the other five the object was never asked for, though it lies in the seen
scenes: a new object in the same sentence.
"""

from inspire_fast.study.definition import Arm, Condition, Study

SEEN = tuple(f"libero_object:{task}" for task in (0, 2, 3, 5, 7))
UNSEEN = tuple(f"libero_object:{task}" for task in (1, 4, 6, 8, 9))
RECORDING = ("--chunk", "3", "--initial-states", "randomized", "--render-quality", "reduced")
EVERY = ("--data.question-dropout.without", "0", "--data.question-dropout.target-dropout", "0")
PLAIN = ("--dialogue.script", "pi0_fast", *EVERY)
VQ = ("--tokenizers.action", "vq", "--tokenizers.action-parameters", "stages", "8")
FORCED = ("own", "oracle", "adversarial", "random")

STUDY = Study(
    name="questions",
    recordings={"object": ("--tasks", *SEEN, "--episodes", "30", "--early-closing", "0.5", *RECORDING)},
    arms=(
        Arm(name="plain", config="inspire_acting", options=PLAIN),
        Arm(name="inspire", config="inspire_acting", options=EVERY, answering=FORCED),
        Arm(name="inspire_first", config="inspire_acting", options=("--dialogue.script", "inspire_first", *EVERY)),
        Arm(name="plain_vq", config="inspire_acting", options=(*PLAIN, *VQ)),
        Arm(name="inspire_vq", config="inspire_acting", options=(*EVERY, *VQ)),
        Arm(name="inspire_dropout", config="inspire_acting", answering=(*FORCED, "skip")),
    ),
    seeds=(0, 1),
    steps=800,
    conditions=(
        Condition(name="seen", tasks=SEEN, every_answering=True),
        Condition(name="unseen", tasks=UNSEEN),
        Condition(name="disturbed", tasks=SEEN, options=("--disturb", "lighting:3", "camera_pose:2")),
    ),
    episodes=8,
    evaluation=("--protocol", "inspire", "--camera-px", "112", "--render-quality", "reduced", "--videos", "none"),
)
