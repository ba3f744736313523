"""Demo of the whole path in under ten minutes on two cores: `make demo`. After an interruption it continues.

Demonstrations from the LIBERO simulator -> statistics and tokenizers -> training -> held-out evaluation -> a policy
server in one process, called by a simulator client in another -> `runs/demo/report.html`.
"""

import json
from pathlib import Path

from inspire_fast.evaluation.records import records
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
    states = ("--initial-states", "fixed", "--first-episode", 10)  # the evaluation uses states 0 and 1
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
    Stage(name="record", title="recording demonstrations in the simulator", run=record),
    Stage(name="statistics", title="statistics", run=lambda: command("scripts/compute_norm_stats.py", "demo")),
    Stage(name="tokenizers", title="fitting tokenizers", run=lambda: command("scripts/fit_tokenizers.py", "demo")),
    Stage(name="train", title="training", run=lambda: command("scripts/train.py", "demo", "--resume")),
    Stage(
        name="held_out",
        title="held-out answers and actions",
        run=lambda: command("scripts/evaluate_held_out.py", "demo"),
    ),
    Stage(name="evaluate", title="serving the policy and calling it from the simulator", run=evaluate),
]


def main() -> None:
    """Runs the missing stages, then writes the report."""
    seconds = run_stages(STAGES, RUN / "stages.json")
    found = records.read(RUN / "episodes")
    report = summarise(
        found,
        checkpoint_dir=CHECKPOINTS,
        demonstrations=json.loads((RUN / "dataset.episodes" / "summary.json").read_text(encoding="utf-8")),
        parameters=InspirePolicy.load(CHECKPOINTS).parameters,
        seconds=seconds,
    )
    page = write_report(report, found, RUN)
    print(
        f"report: {page} ({page.resolve().as_uri()})\nmetrics: {RUN / 'report.json'}, server log: {RUN / 'server.log'}"
    )
    print(f"All files are in {RUN}; delete this folder to repeat the demo.")


if __name__ == "__main__":
    main()
