"""The closed set of verdicts, each with what a student should do next, and the result of one submission."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

VERDICTS = {
    "PASS": "The threshold is reached within the limits. Nothing is left to do.",
    "BELOW_THRESHOLD": "The project runs as it should, but its accuracy on the test set is below the threshold. Train better or "
                       "longer.",
    "BUILD_FAILED": "The command failed while compiling. Unpack your zip in an empty folder and run it there.",
    "RUN_FAILED": "The command ended with an error, and without complete predictions, which would have counted. Look at the last "
                  "lines it printed; run it in an empty folder, with nothing but the standard compilers.",
    "TIME_LIMIT": "The time limit was reached before the command ended. Train fewer epochs or a smaller network; use -O3 and "
                  "OpenMP.",
    "MEMORY_LIMIT": "All processes together took more memory than allowed. Keep inputs as bytes or floats, free what you do not "
                    "need.",
    "PROCESS_LIMIT": "More processes and threads ran at a time than allowed. Start as many threads as there are processors.",
    "OUTPUT_LIMIT": "The command printed more, or wrote more to disk, than allowed. Print a line an epoch; write the "
                    "predictions only.",
    "MISSING_OUTPUT": "The command ended, but a prediction file is not there. Write both into the project's root, with these "
                      "names.",
    "BAD_FORMAT": "A prediction file is not one integer a line, line i for input i. The first wrong line is named.",
    "RULE_VIOLATION": "The project breaks a rule of the assignment that can be seen by looking at it; each place is named.",
    "LEAKAGE": "The test set is used for more than the final evaluation: what was predicted changed with test data that should "
               "not matter. Learn from the training set alone; predict each test input by itself.",
    "BAD_ARCHIVE": "The hand-in cannot be unpacked safely. Zip the project's folder again, sources only.",
    "GRADER_FAULT": "The grader failed, not you. This is no mark: it has to be run again, once what the grader says is mended.",
}
FAULT = "GRADER_FAULT"
_STOPS = {"time": "TIME_LIMIT", "cpu": "TIME_LIMIT", "memory": "MEMORY_LIMIT", "processes": "PROCESS_LIMIT",
          "output": "OUTPUT_LIMIT", "disk": "OUTPUT_LIMIT"}


def of_stop(stopped: str) -> str:
    """The verdict for the limit that ended a run."""
    return _STOPS[stopped]


@dataclass
class Result:
    """One submission, graded. Accuracies are fractions, sizes bytes, times seconds; what was not measured is None.

    lost: of the seconds, those that others on the machine took, which do not count; calibrated: the others, as they would be on
    the machine of the reference kernel; runs: each of those near a limit of time;
    leakage: what the check found, None if there was none; predictions: of the test set, for comparing, never in JSON.
    """

    submission: str
    verdict: str
    detail: str = ""
    accuracy: float | None = None
    standard_error: float | None = None
    correct: int | None = None
    n: int | None = None
    train_accuracy: float | None = None
    seconds: float | None = None
    lost: float | None = None
    calibrated: float | None = None
    cpu: float | None = None
    memory: int | None = None
    processes: int | None = None
    disk: int | None = None
    sandbox: str = ""
    enforced: tuple[str, ...] = ()
    findings: list[dict] = field(default_factory=list)
    output: str = ""
    runs: list[dict] = field(default_factory=list)
    leakage: dict | None = None
    predictions: bytes = field(default=b"", repr=False)

    def __post_init__(self):
        if self.verdict not in VERDICTS:
            raise ValueError(f"{self.verdict!r} is no verdict")

    @property
    def advice(self) -> str:
        """The sentence for the student."""
        return VERDICTS[self.verdict]

    def plain(self) -> dict:
        """As JSON holds it."""
        found = asdict(self)
        del found["predictions"]
        return found
