"""Diagnosis of an evaluation: phases, divergence, gripper timing and error to the expert, on the evaluation's page."""

from functools import partial
from pathlib import Path

from tqdm import tqdm
import tyro

from inspire_fast.core.cli import run_command
from inspire_fast.evaluation.diagnosis.diagnose import DiagnosisOptions, diagnose
from inspire_fast.evaluation.report.page import Evaluation, write_page
from inspire_fast.evaluation.run.runner import Job


def diagnose_evaluation(
    folder: tyro.conf.Positional[Path] = Path("runs/libero"),
    *,
    demonstrations: Path | None = None,
    expert_every: int = 20,
    workers: int = 2,
) -> None:
    """Repeats the episodes of an evaluation in the simulator and says on its page why they failed.

    Args:
        folder: of the evaluation.
        demonstrations: labelled LeRobot dataset that the policy was trained on, for the distance to its nearest state.
        expert_every: the scripted expert plans anew at every so many control steps; 0 leaves that out.
        workers: processes, each with two simulators (3 GB).
    """
    evaluation = Evaluation(folder)
    options = DiagnosisOptions(demonstrations=demonstrations, expert_every=expert_every)
    job = Job(
        protocol=evaluation.protocol,
        policy=evaluation.policy,
        disturbances=evaluation.settings["disturbances"],
        out=folder,
    )
    with tqdm(desc="diagnoses", unit="ep", disable=None) as bar:
        for diagnosis in diagnose(job, evaluation.records, options, workers=workers):
            bar.update()
            if not diagnosis.repeated:
                tqdm.write(f"{diagnosis.key} ended otherwise than recorded: it is left out")
    page = write_page(folder)
    print(f"{page} ({page.resolve().as_uri()})")


main = partial(run_command, diagnose_evaluation)
