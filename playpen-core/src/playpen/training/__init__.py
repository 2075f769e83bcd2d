"""Training: configuration files, the `Trainer` base class, and what a trainer is given.

Which trainer runs is a name; everything else is one configuration file.
"""

from playpen.training.checks import check_config, read_config, require_partner
from playpen.training.config import (
    ConfigError,
    DataTable,
    EvalTable,
    GamesTable,
    LearnerTable,
    RolloutTable,
    TeacherTable,
    TrainConfig,
)
from playpen.training.launch import train
from playpen.training.metrics_log import leads
from playpen.training.plan import plan_training
from playpen.training.run import TrainingRun
from playpen.training.trainer import Trainer, make_trainer

__all__ = [
    "ConfigError",
    "DataTable",
    "EvalTable",
    "GamesTable",
    "LearnerTable",
    "RolloutTable",
    "TeacherTable",
    "TrainConfig",
    "Trainer",
    "TrainingRun",
    "check_config",
    "leads",
    "make_trainer",
    "plan_training",
    "read_config",
    "require_partner",
    "train",
]
