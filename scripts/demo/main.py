"""The main job end to end, in under ten minutes on two cores: `make demo`. Interrupted, it goes on where it stopped.

Demonstrations from the LIBERO simulator -> tokenizers and statistics -> training -> held-out evaluation -> a policy
server in its own process, driven by a simulator client in another -> `runs/demo/report.html`.
"""

import json
from pathlib import Path

from inspire_fast.policy.policy import InspirePolicy
from scripts.demo.report import write_report
from scripts.demo.stages import Stage, background, command, run_stages
from scripts.demo.summary import summarise

RUN = Path("runs/demo")
CHECKPOINTS = RUN / "checkpoints" / "demo" / "default"
TASKS = ("libero_object:0", "libero_spatial:0")
RENDERING = ("--render-quality", "reduced")


def record() -> None:
    """Scripted demonstrations of two tasks."""
    states = ("--initial-states", "fixed", "--first-episode", 10)  # evaluation takes states 0 and 1
    command(
        "scripts/record_demonstrations.py",
        "--tasks",
        *TASKS,
        "--episodes",
        20,
        *states,
        "--root",
        RUN / "dataset",
        *RENDERING,
    )


def evaluate() -> None:
    """Server and simulator client, each in its own process."""
    port_file = RUN / "port"
    server = ("scripts/serve_policy.py", "--checkpoint", CHECKPOINTS, "--port", 0, "--port-file", port_file)
    with background(*server, ready=port_file, log=RUN / "server.log") as port:
        out = ("--out", RUN / "episodes")
        command("examples/libero/main.py", "--protocol", "quick", "--port", port, "--tasks", *TASKS, *out)


STAGES = [
    Stage(name="record", says="recording demonstrations in the simulator", run=record),
    Stage(name="statistics", says="statistics", run=lambda: command("scripts/compute_norm_stats.py", "demo")),
    Stage(name="tokenizers", says="fitting tokenizers", run=lambda: command("scripts/fit_tokenizers.py", "demo")),
    Stage(name="train", says="training", run=lambda: command("scripts/train.py", "demo", "--resume")),
    Stage(
        name="held_out",
        says="held-out answers and actions",
        run=lambda: command("scripts/evaluate_held_out.py", "demo"),
    ),
    Stage(name="evaluate", says="serving the policy and driving the simulator with it", run=evaluate),
]


def main() -> None:
    """Runs what is missing, then writes the report."""
    seconds = run_stages(STAGES, RUN / "stages.json")
    report = summarise(
        run=RUN,
        checkpoint_dir=CHECKPOINTS,
        episodes_dir=RUN / "episodes",
        demonstrations=json.loads((RUN / "dataset.episodes" / "summary.json").read_text()),
        parameters=InspirePolicy.load(CHECKPOINTS).parameters,
        seconds=seconds,
    )
    page = write_report(report, RUN)
    print(
        f"report: {page} ({page.resolve().as_uri()})\nfigures: {RUN / 'report.json'}, server log: {RUN / 'server.log'}"
    )
    print(f"everything lies in {RUN}; delete that folder to run the demo afresh")


if __name__ == "__main__":
    main()
