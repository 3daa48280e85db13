"""Train one model: one run through LightningCLI, with the same numbers as the same run of a grid.

    python -m experiments.train fit --model.variant pre_ln --model.layers 12 --data.corpus docstrings
    python -m experiments.train fit --config results/runs/…/config.yaml --seed_everything 1
    python -m experiments.train test --config …/config.yaml --ckpt_path …/best.ckpt --data.stage final

``fit`` writes a run folder as a grid does: configuration, curves, best and last checkpoint, predictions and record.
"""

from __future__ import annotations

if not __package__:  # started by its path, where Python finds neither our packages nor its own `statistics`
    raise SystemExit("error: start it from the repository's folder with: python -m experiments.train")

import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from jsonargparse.typing import PositiveInt
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from experiments.errors import ExperimentError, readable_errors
from experiments.paths import RESULTS
from experiments.planning.parser import (
    PRECISION_HELP,
    SECTIONS,
    add_schemes_option,
    allow_imports,
    explain,
    refuse_both_precisions,
    take_schemes,
)
from experiments.planning.run_config import ProbesConfig, StartConfig
from experiments.planning.saved_runs import section
from experiments.planning.yaml_files import read_yaml
from experiments.tasks import CLASSIFICATION, TaskSpec, task_named
from lightning_modules.training.processes import is_first_process

MAX_TOKENS_HELP = "budget in real training tokens, in place of max_epochs: as many steps as have them on average"

VALIDATE_HELP = "steps between two validations, in place of val_check_interval"


class OneLineParser(LightningArgumentParser):
    """LightningCLI's parser, which answers a mistake with one line that names the nearest option."""

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Print the mistake and end with status 2."""
        options = [name for action in self._actions for name in action.option_strings]
        print(f"error: {explain(message, options)}", file=sys.stderr)
        raise SystemExit(2)


class TrainCLI(LightningCLI):
    """LightningCLI that writes the run folder of a grid and ends a fit with scores and a record."""

    task_defaults: Mapping[str, Any] = {}
    """Settings of the task, unless the command line sets them."""

    resumed_step: int | None = None
    """Optimiser step of the checkpoint from which training goes on."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what belongs to a run as a whole; one seed decides initialisation, dropout and batch order."""
        parser.add_argument(
            "--threads", type=int, default=1, help="CPU threads; repeats are bit-equal for equal threads"
        )
        parser.add_argument("--task", type=str, default=CLASSIFICATION.name, help="what to train for")
        parser.add_argument("--trainer.max_tokens", type=PositiveInt | None, default=None, help=MAX_TOKENS_HELP)
        parser.add_argument(
            "--trainer.validate_every_n_steps", type=PositiveInt | None, default=None, help=VALIDATE_HELP
        )
        parser.add_argument("--precision", type=Literal["auto"], help=PRECISION_HELP)
        parser.add_argument("--results", type=str, default=str(RESULTS), help="folder of run folders and tables")
        parser.add_argument("--name", type=str, default="train", help="first folder name of the run, as a grid's name")
        add_schemes_option(parser)
        parser.add_class_arguments(ProbesConfig, "probes")
        parser.add_class_arguments(StartConfig, "start")
        parser.link_arguments("seed_everything", "model.seed", compute_fn=int)
        parser.link_arguments("seed_everything", "data.seed", compute_fn=int)
        parser.set_defaults(
            {
                "trainer.max_epochs": 4,
                "trainer.gradient_clip_val": 1.0,
                "trainer.log_every_n_steps": 10,
                "trainer.devices": 1,
            }
        )
        parser.set_defaults(dict(self.task_defaults))

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Return Lightning's subcommands without ``predict``, which ``experiments.predict`` replaces."""
        return {name: skip for name, skip in LightningCLI.subcommands().items() if name != "predict"}

    def _parse_ckpt_path(self) -> None:
        """Check the checkpoint, if one is named, before anything is built.

        Lightning's own method would silently let the checkpoint's settings win over the command line. Here both must
        agree when training goes on; to validate or test a checkpoint, its own settings are taken.
        """
        subcommand = self.config["subcommand"]
        settings = self.config[subcommand]
        given = settings.get("ckpt_path")
        if not given:
            if subcommand != "fit":
                raise ExperimentError(f"{subcommand} needs --ckpt_path, such as a run folder's best.ckpt")
            return
        from experiments.runs.single import (
            find_checkpoint,
            read_checkpoint,
            refuse_other_model,
            refuse_other_run,
            refuse_weights_only,
            run_of,
        )

        run = run_of(settings.as_dict())
        path = find_checkpoint(given, run.folder(Path(settings["results"])))
        checkpoint = read_checkpoint(path)
        saved = {name: value for name, value in checkpoint["hyper_parameters"].items() if name in settings.model}
        if subcommand == "fit":
            refuse_weights_only(path, checkpoint)
            refuse_other_model(path, saved, vars(run.config.model))  # with what was filled in
            refuse_other_run(path, checkpoint, run.config)
            self.resumed_step = checkpoint["global_step"]
        else:
            for name in saved.keys() - {"seed"}:
                settings.model[name] = saved[name]
        settings["ckpt_path"] = str(path)

    def _set_seed(self) -> None:
        """Check the seed before Lightning takes it: for ``true``, Lightning draws a seed that no record would show.

        Raises:
            ExperimentError: no random generator takes it.
        """
        from experiments.planning.run_config import MOST
        from experiments.planning.yaml_files import whole_number

        seed = self.config[self.subcommand]["seed_everything"]
        whole_number("seed_everything", 0 if seed is False else seed, least=0, most=MOST["seed"])
        super()._set_seed()

    def before_instantiate_classes(self) -> None:
        """Set threads before any tensor is made, and the precision if it is to be measured."""
        from experiments.runs.training import prepare_process

        prepare_process(self.settings["threads"])
        if self.settings["precision"] == "auto":
            self.choose_precision()

    def choose_precision(self) -> None:
        """Measure which precision to train in, say so, and put it into the settings.

        Raises:
            ExperimentError: a precision was given too.
        """
        from experiments.planning.saved_runs import run_config_of
        from experiments.runs.precision import choose_precision

        refuse_both_precisions(self.settings["trainer"])
        choice = choose_precision(run_config_of(self.settings))
        self.config[self.subcommand]["trainer"]["precision"] = choice.value
        print(f"precision {choice.value}: {choice.reason}")

    @property
    def settings(self) -> dict[str, Any]:
        """The parsed options of the subcommand."""
        return self.config[self.subcommand].as_dict()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer that grids use, in the folder of this run, or one that only evaluates."""
        from experiments.runs.execute import begin
        from experiments.runs.parents import find_parent
        from experiments.runs.single import run_of
        from experiments.runs.training import (
            FULLY_SHARDED,
            build_bare_trainer,
            build_trainer,
            probing_callbacks,
            refuse_callbacks,
            resumable_checkpoint,
            step_budget,
        )

        self.run = run_of(self.settings)
        self.folder = self.run.folder(Path(self.settings["results"]))
        self.parent = find_parent(self.run.config)
        if self.parent is not None:
            self.datamodule.config = self.parent.text(self.datamodule.config)
        elif self.run.config.model.pretrained is not None:
            self.datamodule.config = replace(self.datamodule.config, tokenizer=self.run.config.text.tokenizer)
        begin(self.model, self.datamodule, self.run.config, self.parent)
        if self.model.words is not None and is_first_process():
            print(f"word vectors: found {len(self.model.words.ids)} of {self.datamodule.facts.vocabulary_size} tokens")
        trainer = self._get(self.config_init, "trainer").as_dict()
        own = trainer.pop("callbacks", None) or []
        own = own if isinstance(own, list) else [own]
        refuse_callbacks(own)
        flags = {"enable_progress_bar": True} | {name: value for name, value in trainer.items() if value is not None}
        if self.subcommand != "fit":
            return build_bare_trainer(flags, own)
        if self.run.config.probes.every_n_steps and trainer.get("strategy") == FULLY_SHARDED:
            raise ExperimentError(f"probes need all weights on one device; leave them off with {FULLY_SHARDED}")
        own = [resumable_checkpoint(self.folder), *probing_callbacks(self.run.config.probes), *own]
        return build_trainer(
            flags,
            self.folder,
            own,
            task=task_named(self.run.config.task),
            steps=step_budget(self.run.config, self.datamodule),
            resumed_step=self.resumed_step,
        )

    def fit(self, **arguments: Any) -> None:
        """Train in the run's folder, score the run, write its record and say where everything is.

        If several processes train together, the first one does everything else.
        """
        if not is_first_process():
            self.trainer.fit(**arguments)
            self.model.gathered()
            return
        from experiments.runs.single import (
            finish,
            is_inside,
            occupied,
            prepare_folder,
            prepend_curves,
            set_curves_aside,
        )

        with occupied(self.folder):
            resumes = self.resumed_step is not None and is_inside(arguments["ckpt_path"], self.folder)
            if resumes:
                set_curves_aside(self.folder, self.resumed_step or 0)
            prepare_folder(self.run, self.folder, self.datamodule.corpus.fingerprint, resumes=resumes)
            try:
                self.trainer.fit(**arguments)
            except SystemExit:  # how Lightning ends after Ctrl-C
                if not self.trainer.interrupted:
                    raise
                print(
                    "\ninterrupted; the same command with --ckpt_path last goes on from the last epoch", file=sys.stderr
                )
                raise SystemExit(130) from None
            except MisconfigurationException as error:
                raise ExperimentError(f"Lightning cannot train so: {' '.join(str(error).split())}") from error
            finally:
                prepend_curves(self.folder)
            self.datamodule.trainer = None  # from here on this process reads all rows
            finish(self.run, self.folder, self.trainer, self.model.gathered(), self.datamodule, self.parent)


def task_of(arguments: Sequence[str]) -> TaskSpec:
    """The task that a command line names, itself or in a file of ``--config``; the last one counts.

    Raises:
        ExperimentError: there is no such task, or the file cannot be read.
    """
    words = [part for argument in arguments for part in argument.split("=", 1)]
    name = CLASSIFICATION.name
    for option, value in pairwise(words):
        if option == "--task":
            name = value
        elif option in ("-c", "--config") and Path(value).is_file():
            content = read_yaml(Path(value))
            for part in SECTIONS:
                section(content, part)  # Lightning would pass over one that holds no names
            name = str(content.get("task", name))
    return task_named(name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a subcommand of LightningCLI; mistakes end with one line and status 2."""
    with readable_errors():
        arguments = allow_imports(take_schemes(sys.argv[1:] if arguments is None else arguments))
        task = task_of(arguments)
        warnings.filterwarnings("ignore", message=".*LightningCLI's args parameter.*")  # ours are without our options
        cli = type(TrainCLI.__name__, (TrainCLI,), {"task_defaults": task.defaults})
        cli(
            task.load("module"),
            task.load("data"),
            args=arguments,
            parser_class=OneLineParser,
            parser_kwargs={"allow_abbrev": False},
            seed_everything_default=0,
            save_config_callback=None,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )


if __name__ == "__main__":
    main()
