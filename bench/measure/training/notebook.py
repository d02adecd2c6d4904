"""What training has shown so far, laid out as the tables that are kept."""

from collections.abc import Iterable, Sequence

from loopmark.bench.records.samples import table
from loopmark.bench.records.training import COLUMNS, Deviation, Proof, Target, TrainingSamples, Trial


class Notebook:
    """Proofs and trials as they come, with their samples."""

    def __init__(self) -> None:
        self.proofs: list[Proof] = []
        self.trials: list[Trial] = []
        self.targets: dict[str, Target] = {}
        """By workload."""
        self._deviations: list[dict[str, object]] = []
        self._evaluations: list[dict[str, object]] = []
        self._losses: list[dict[str, object]] = []

    def add_proof(self, proof: Proof, deviations: Iterable[Deviation] = ()) -> None:
        """A case has been compared, or could not be."""
        for deviation in deviations:
            # A table holds no lone surrogate, and a layer may be called what its maker likes.
            layer = deviation.layer.encode(errors="backslashreplace").decode()
            self._deviations.append({"proof": len(self.proofs), **vars(deviation), "layer": layer})
        self.proofs.append(proof)

    def add_evaluation(self, trial: int, step: int, seconds: float, joules: float, quality: float) -> None:
        """The quality of a trial was measured after ``step`` steps."""
        self._evaluations.append(
            {"trial": trial, "step": step, "seconds": seconds, "joules": joules, "quality": quality}
        )

    def add_losses(self, trial: int, first_step: int, losses: Sequence[float]) -> None:
        """A trial has taken some steps."""
        self._losses += [{"trial": trial, "step": first_step + n, "loss": loss} for n, loss in enumerate(losses)]

    def samples(self) -> TrainingSamples:
        """Everything so far."""
        return TrainingSamples(
            evaluations=table(COLUMNS["evaluations"], self._evaluations),
            training_losses=table(COLUMNS["training_losses"], self._losses),
            deviations=table(COLUMNS["deviations"], self._deviations),
        )
