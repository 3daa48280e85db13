"""Train one model: one run through LightningCLI, with the same numbers as the same run of a grid.

    python -m experiments.train fit --model.variant pre_ln --model.layers 12 --data.corpus docstrings
    python -m experiments.train fit --config results/runs/…/config.yaml --seed_everything 1
    python -m experiments.train test --config …/config.yaml --ckpt_path …/best.ckpt --data.stage final

``fit`` writes a run folder as a grid does: configuration, curves, best and last checkpoint, predictions and record.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from jsonargparse import set_parsing_settings
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from data_modules.text import TextDataModule
from experiments.errors import readable_errors
from experiments.paths import RESULTS
from experiments.planning.parser import explain
from lightning_modules.classifier import TextClassifier

set_parsing_settings(docstring_parse_attribute_docstrings=True)


class OneLineParser(LightningArgumentParser):
    """LightningCLI's parser, which answers a mistake with one line that names the nearest option."""

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Print the mistake and end with status 2."""
        options = [name for action in self._actions for name in action.option_strings]
        print(f"error: {explain(message, options)}", file=sys.stderr)
        raise SystemExit(2)


class TrainCLI(LightningCLI):
    """LightningCLI that writes the run folder of a grid and ends a fit with scores and a record."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what belongs to a run as a whole; one seed decides initialisation, dropout and batch order."""
        parser.add_argument(
            "--threads", type=int, default=1, help="CPU threads; repeats are bit-equal for equal threads"
        )
        parser.add_argument("--results", type=str, default=str(RESULTS), help="folder of run folders and tables")
        parser.add_argument("--name", type=str, default="train", help="first folder name of the run, as a grid's name")
        parser.link_arguments("seed_everything", "model.seed", compute_fn=int)
        parser.link_arguments("seed_everything", "data.seed", compute_fn=int)
        parser.set_defaults(
            {"trainer.max_epochs": 4, "trainer.gradient_clip_val": 1.0, "trainer.log_every_n_steps": 10}
        )

    def before_instantiate_classes(self) -> None:
        """Set threads before any tensor is made."""
        from experiments.running.training import prepare_process

        prepare_process(self.settings["threads"])

    @property
    def settings(self) -> dict[str, Any]:
        """The parsed options of the subcommand."""
        return self.config[self.subcommand].as_dict()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer that grids use, in the folder of this run."""
        from experiments.running.single import folder_of, run_of
        from experiments.running.training import build_trainer, resumable_checkpoint

        self.run = run_of(self.settings)
        self.folder = folder_of(self.run, self.settings, fresh=self.subcommand == "fit")
        trainer = self._get(self.config_init, "trainer").as_dict()
        own = trainer.pop("callbacks", None) or []
        enabled = {"enable_progress_bar": True} | {name: value for name, value in trainer.items() if value is not None}
        return build_trainer(enabled, self.folder, [resumable_checkpoint(self.folder), *own])

    def after_fit(self) -> None:
        """Score the run, write its record and say where everything is."""
        from experiments.running.single import finish

        finish(self.run, self.folder, self.trainer, self.model, self.datamodule)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a subcommand of LightningCLI; mistakes end with one line and status 2."""
    with readable_errors():
        TrainCLI(
            TextClassifier,
            TextDataModule,
            args=list(arguments) if arguments is not None else None,
            parser_class=OneLineParser,
            parser_kwargs={"allow_abbrev": False},
            seed_everything_default=0,
            save_config_callback=None,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )


if __name__ == "__main__":
    main()
