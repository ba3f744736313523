"""Demo of the whole path in under ten minutes on two cores: `make demo`. After an interruption it continues.

1. The policy that comes with the package solves tasks: a policy server in one process, called by a simulator client in
   another.
2. The same path from nothing, for a few minutes: demonstrations from the LIBERO simulator, statistics and tokenizers,
   training, held-out evaluation, server and client.

Both are told apart on one page, `runs/demo/report.html`.
"""

from collections.abc import Sequence
import json
from pathlib import Path

from inspire_fast.core.stages import Stage, background, command, run_stages
from inspire_fast.evaluation.records import records
from inspire_fast.policy.load import SHIPPED_DEFAULT
from inspire_fast.policy.policy import InspirePolicy
from scripts.demo.report import write_report
from scripts.demo.summary import summarise

RUN = Path("runs/demo")
CHECKPOINTS = RUN / "checkpoints" / "demo" / "default"
TASKS = ("libero_object:0", "libero_spatial:0")
SHIPPED_TASKS = ("libero_object:4", "libero_object:6", "libero_object:7", "libero_object:8")  # those it does best
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


def evaluate(checkpoint: str | Path, tasks: Sequence[str], out: Path) -> None:
    """Server and simulator client, each in its own process: two initial states of each task, held out of training."""
    port_file = RUN / "port"
    server = ("scripts/serve_policy.py", "--checkpoint", checkpoint, "--port", 0, "--port-file", port_file)
    with background(*server, ready=port_file, log=RUN / "server.log") as port:
        client = ("examples/libero/main.py", "--protocol", "quick", "--port", port)
        command(*client, "--tasks", *tasks, "--out", out)


STAGES = [
    Stage(
        name="shipped",
        title=f"the shipped policy {SHIPPED_DEFAULT} acts in the simulator",
        run=lambda: evaluate(SHIPPED_DEFAULT, SHIPPED_TASKS, RUN / "shipped"),
    ),
    Stage(name="record", title="recording demonstrations in the simulator", run=record),
    Stage(name="statistics", title="statistics", run=lambda: command("scripts/compute_norm_stats.py", "demo")),
    Stage(name="tokenizers", title="fitting tokenizers", run=lambda: command("scripts/fit_tokenizers.py", "demo")),
    Stage(name="train", title="training", run=lambda: command("scripts/train.py", "demo", "--resume")),
    Stage(
        name="held_out",
        title="held-out answers and actions",
        run=lambda: command("scripts/evaluate_held_out.py", "demo"),
    ),
    Stage(
        name="evaluate",
        title="the policy trained here acts in the simulator",
        run=lambda: evaluate(CHECKPOINTS, TASKS, RUN / "episodes"),
    ),
]


def main() -> None:
    """Runs the missing stages, then writes the report."""
    seconds = run_stages(STAGES, RUN / "stages.json")
    found, shipped = records.read(RUN / "episodes"), records.read(RUN / "shipped")
    report = summarise(
        found,
        shipped,
        checkpoint_dir=CHECKPOINTS,
        demonstrations=json.loads((RUN / "dataset.episodes" / "summary.json").read_text(encoding="utf-8")),
        parameters=InspirePolicy.load(CHECKPOINTS).parameters,
        seconds=seconds,
    )
    page = write_report(report, found, shipped, RUN)
    print(
        f"{report['shipped_successes']} of {report['shipped_episodes']} episodes solved by the shipped policy, "
        f"{report['successes']} of {report['episodes']} by the one trained here for a few minutes\n"
        f"report: {page} ({page.resolve().as_uri()})\nmetrics: {RUN / 'report.json'}, server log: {RUN / 'server.log'}"
    )
    print(f"All files are in {RUN}; delete this folder to repeat the demo.")


if __name__ == "__main__":
    main()
