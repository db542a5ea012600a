"""The epoch that validation likes best."""

from torch import Tensor, nn

from gcnsys.train.trainer import Evaluation


class Best:
    """The best epoch by validation accuracy; equal ones are told apart by validation loss."""

    def __init__(self) -> None:
        self.epoch, self.key = -1, (-1.0, 0.0)
        self.evaluation: Evaluation | None = None
        self.state: dict[str, Tensor] = {}

    def offer(self, epoch: int, evaluation: Evaluation, model: nn.Module) -> bool:
        """Take an epoch in if it is better; without validation nodes the last one is best."""
        score = evaluation.scores["val"]
        key = (score.accuracy, -score.loss)
        if self.evaluation is not None and score.accuracy == score.accuracy and key <= self.key:
            return False
        self.epoch, self.key, self.evaluation = epoch, key, evaluation
        self.state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        return True
