"""What can be configured about a model and its optimisation: one dataclass, free of torch.

The attribute docstrings are the help text of ``python -m experiments.train fit --help``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from lightning_modules.errors import ConfigurationError, check_numbers, reject_unknown
from lightning_modules.pretrained import PretrainedNetwork, pretrained_network
from lightning_modules.schemes.composing import at_one_block, with_embedding_norm, with_norm
from lightning_modules.schemes.variants import SCHEME_SHA256, VARIANTS, Variant, refuse_causal

Activation = Literal["relu", "gelu", "gelu_tanh", "swiglu"]
Positions = Literal["learned", "sinusoidal", "rotary", "none"]
Pooling = Literal["mean", "first"]
Initialisation = Literal["xavier", "gaussian", "random"]
Form = Literal["shared", "published"]
LanguageHeadKind = Literal["tied", "free"]
Loss = Literal["cross_entropy", "mean_squared_error"]
ClassWeights = Literal["none", "balanced"]
Adversarial = Literal["none", "fgm"]
OptimizerName = Literal["sgd", "momentum", "adam", "adamw", "rmsprop"]
Decay = Literal["constant", "linear", "cosine"]


@dataclass(kw_only=True)
class ModelConfig:
    """A Transformer encoder classifier, its initialisation, loss, optimiser and schedule.

    Raises:
        ConfigurationError: at construction, naming the field, the reason and the nearest valid choice.
    """

    variant: str = "pre_ln"
    """Residual and normalisation scheme (``python -m experiments.variants list`` names them)."""

    scheme_sha256: str | None = field(default=None, metadata={"since": 2})
    """SHA-256 of the scheme file that ``variant`` comes from, if any; ``--schemes FILE.py`` sets it."""

    scheme_options: dict[str, Any] = field(default_factory=dict, metadata={"since": 2})
    """Options of the scheme by name, such as ``streams`` of ``hyper_connections``; ``variants show`` lists them."""

    form: Form = field(default="shared", metadata={"since": 2})
    """Network around the scheme: ``shared`` takes the settings below, the same for all schemes. ``published`` takes the
    positions, activation and biases of the scheme's own paper instead."""

    norm: str | None = field(default=None, metadata={"since": 2})
    """Variant whose norm takes the place of ``variant``'s own, such as ``rms_norm`` or ``dyt``."""

    only_block: int | None = field(default=None, metadata={"since": 2})
    """The one block, counted from 1, that ``variant`` and ``norm`` are for; null for all."""

    elsewhere: str | None = field(default=None, metadata={"since": 2})
    """Variant of the other blocks where ``only_block`` names one; by default that of ``pretrained``."""

    pretrained: str | None = field(default=None, metadata={"since": 2})
    """Network in Hugging Face's format (BERT, RoBERTa, DistilBERT, GPT-2) whose safetensors are the start: a folder,
    ``package:NAME/FOLDER``, or a Hub id that was fetched before. Its sizes and its tokenizer are taken too."""

    pretrained_sha256: str | None = field(default=None, metadata={"since": 2})
    """SHA-256 of its file of weights; filled in with its sizes. If it is given, the sizes must be given too."""

    embedding_norm: bool = field(default=False, metadata={"since": 2})
    """A norm after the embeddings, as in BERT; a variant without norms has none there either."""

    norm_epsilon: float | None = field(default=None, metadata={"since": 2})
    """ε of the norms that have one; null for the usual 1e-5."""

    layers: int = 6
    """Transformer blocks."""

    width: int = 64
    """Width D of the residual stream."""

    heads: int = 4
    """Attention heads; must divide the width."""

    feed_forward_width: int | None = None
    """Hidden width of the feed-forward sublayer; by default four times the width, for ``swiglu`` two thirds of that."""

    activation: Activation = "relu"
    """Activation of the feed-forward sublayer; ``gelu_tanh`` is GPT-2's, ``swiglu`` has a third matrix, a gate."""

    dropout: float = 0.1
    """Dropout probability of the embeddings and of every sublayer's output."""

    positions: Positions = "learned"
    """Positions: ``learned`` or ``sinusoidal`` vectors added to the embedding, ``rotary`` in attention, or none."""

    pooling: Pooling = "mean"
    """How the token vectors become one vector: their mean over real tokens, or the first token."""

    causal: bool = field(default=False, metadata={"since": 2})
    """Let a token see only itself and what comes before it; in the task ``causal_lm`` it always does."""

    language_head: LanguageHeadKind = field(default="tied", metadata={"since": 2})
    """How a language model reads tokens: by the embeddings' table (``tied``) or a matrix of its own (``free``)."""

    initialisation: Initialisation = "xavier"
    """Start of the weight matrices: Xavier uniform, Gaussian (sd 0.02), or ``random``, PyTorch's own default.
    Biases start at zero, with ``random`` at PyTorch's own draw."""

    embedding_std: float | None = field(default=None, metadata={"since": 1})
    """Standard deviation of the embeddings at the start; null for 0.02, or with ``random`` for PyTorch's 1."""

    word_vectors: str | None = field(default=None, metadata={"since": 2})
    """File of word vectors, in the text format of GloVe or word2vec, from which the embeddings of its words start."""

    word_vectors_width: Literal["same", "projected"] = field(default="same", metadata={"since": 2})
    """Width of the file's vectors: that of the model, or another, which a random orthogonal map then changes."""

    initialisation_gain: float = 1.0
    """Factor on the initial weight matrices of the blocks."""

    loss: Loss = "cross_entropy"
    """Training loss; ``mean_squared_error`` compares class probabilities with the one-hot label."""

    class_weights: ClassWeights = "none"
    """``balanced`` weighs each class by the inverse of its share of the training rows."""

    label_smoothing: float = 0.0
    """Probability mass that the cross-entropy target spreads evenly over the classes."""

    adversarial: Adversarial = field(default="none", metadata={"since": 2})
    """``fgm`` also trains a classifier on embeddings that are moved in the direction that hurts most (Miyato et al.
    2017, arXiv:1605.07725), at twice the cost of a step."""

    adversarial_size: float = field(default=0.02, metadata={"since": 2})
    """Length of that move, as a share of the length of a row's embeddings."""

    optimizer: OptimizerName = "adamw"
    """Optimiser."""

    learning_rate: float = 1e-3
    """Peak learning rate."""

    weight_decay: float = 0.01
    """Weight decay of weight matrices; norms, biases and embeddings are exempt."""

    momentum: float = 0.9
    """Momentum of ``momentum`` and of ``rmsprop``; plain ``sgd`` has none."""

    beta1: float = 0.9
    """First-moment decay of Adam and AdamW."""

    beta2: float = 0.999
    """Second-moment decay of Adam and AdamW."""

    warmup_fraction: float = 0.1
    """Share of all steps in which the learning rate rises linearly from zero."""

    decay: Decay = "linear"
    """Course of the learning rate after warm-up, down to zero at the last step of ``schedule_epochs``."""

    schedule_epochs: int | None = None
    """Epochs that the schedule spans; ``trainer.max_epochs`` by default."""

    compile: bool = field(default=False, metadata={"since": 1})
    """Compile the blocks with ``torch.compile`` while training: it costs a minute at the start and changes the
    rounding."""

    seed: int = 0
    """Seed of initialisation and dropout (``train`` links it to ``--seed_everything``)."""

    def __post_init__(self) -> None:
        if self.pretrained is not None and self.pretrained_sha256 is None:
            self._take_sizes(pretrained_network(self.pretrained))
        self._check_variant()
        check_numbers("model.", self, MOST)
        for name, choices in CHOICES.items():
            reject_unknown(f"model.{name}", getattr(self, name), choices)
        if self.form == "published":
            self._take_published_form()
        self._check_sizes()
        for name in ("dropout", "label_smoothing", "warmup_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigurationError(f"model.{name} is {getattr(self, name)}; it must be at least 0 and below 1")
        for name in ("learning_rate", "initialisation_gain", "adversarial_size"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigurationError(f"model.{name} is {getattr(self, name)}; it must be positive and finite")
        if self.norm_epsilon is not None and not 0 < self.norm_epsilon < 1:
            raise ConfigurationError(f"model.norm_epsilon is {self.norm_epsilon}; it must lie between 0 and 1")
        if self.embedding_std is not None and not 0 < self.embedding_std < math.inf:
            raise ConfigurationError(
                f"model.embedding_std is {self.embedding_std}; it must be positive, or null for the "
                "spread that model.initialisation comes with"
            )
        hidden = 4 * self.width if self.feed_forward_width is None else self.feed_forward_width
        weights = self.layers * self.width * (4 * self.width + 2 * hidden)
        if weights > MOST_WEIGHTS:
            raise ConfigurationError(
                f"model.layers {self.layers} of model.width {self.width} have about {weights:.0e} weights; more than "
                f"{MOST_WEIGHTS:.0e} are not built"
            )
        if self.feed_forward_width is not None and self.feed_forward_width < 1:
            raise ConfigurationError(
                f"model.feed_forward_width is {self.feed_forward_width}; "
                "it must be at least 1, or null for four times the width"
            )
        if self.schedule_epochs is not None and self.schedule_epochs < 1:
            raise ConfigurationError(
                f"model.schedule_epochs is {self.schedule_epochs}; "
                "it must be at least 1, or null for trainer.max_epochs"
            )
        for name in ("weight_decay", "seed"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigurationError(f"model.{name} is {getattr(self, name)}; it must be finite and not negative")
        for name in ("momentum", "beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigurationError(f"model.{name} is {getattr(self, name)}; it must be at least 0 and below 1")
        if self.loss == "mean_squared_error" and self.label_smoothing > 0:
            raise ConfigurationError(
                f"model.label_smoothing is {self.label_smoothing}, which mean_squared_error has no use for; "
                "set it to 0 or choose model.loss cross_entropy"
            )

    def _check_sizes(self) -> None:
        if self.layers < 0:
            raise ConfigurationError(f"model.layers is {self.layers}; it cannot be negative")
        for name in ("width", "heads"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"model.{name} is {getattr(self, name)}; it must be at least 1")
        if self.width % self.heads:
            divisors = [heads for heads in range(1, self.width + 1) if self.width % heads == 0]
            closest = min(divisors, key=lambda heads: abs(heads - self.heads))
            raise ConfigurationError(
                f"model.heads is {self.heads}, which does not divide model.width {self.width}; "
                f"the nearest that does is {closest}"
            )

    def _check_variant(self) -> None:
        """Refuse an unknown variant, or one of a file that the model was not made with; note the file's digest."""
        if self.variant not in VARIANTS and self.scheme_sha256 is not None:
            raise ConfigurationError(
                f"variant {self.variant} comes from a scheme file, SHA-256 {self.scheme_sha256[:16]}…; "
                "name it with --schemes FILE.py"
            )
        reject_unknown("model.variant", self.variant, VARIANTS)
        digest = SCHEME_SHA256.get(self.variant)
        if digest is not None and self.scheme_sha256 not in (None, digest):
            raise ConfigurationError(
                f"variant {self.variant} was another file's: SHA-256 {self.scheme_sha256[:16]}…, "
                f"and --schemes names one with {digest[:16]}…"
            )
        self.scheme_sha256 = digest
        self.scheme_options = dict(self.scheme_options or {})
        if self.only_block is not None:
            if self.elsewhere is None:
                raise ConfigurationError("model.only_block needs model.elsewhere, the variant of the other blocks")
            reject_unknown("model.elsewhere", self.elsewhere, VARIANTS)
            if not 1 <= self.only_block <= self.layers:
                raise ConfigurationError(
                    f"model.only_block is {self.only_block}; the network has blocks 1 to {self.layers}"
                )
        scheme = self.scheme  # which refuses what does not go together
        if self.causal:
            refuse_causal(scheme)

    def _take_published_form(self) -> None:
        """Set what the scheme's paper sets; a hidden width that was given stays."""
        published = VARIANTS[self.variant].published_settings()
        self.positions = published.get("positions", self.positions)
        self.activation = published.get("activation", self.activation)
        if self.feed_forward_width is None and "feed_forward_factor" in published:
            self.feed_forward_width = int(published["feed_forward_factor"] * self.width)

    def _take_sizes(self, network: PretrainedNetwork) -> None:
        """Take over the sizes of a pretrained network and the digest of its weights.

        Raises:
            ConfigurationError: one of them is set to something else.
        """
        usual = {entry.name: entry.default for entry in fields(self)}
        taken: dict[str, Any] = {"pretrained_sha256": network.sha256, **network.settings}
        if self.only_block is not None and self.elsewhere is None:
            taken["elsewhere"] = network.variant
        for name, value in taken.items():
            if getattr(self, name) not in (usual[name], value):
                raise ConfigurationError(
                    f"model.{name} is {getattr(self, name)}, and the pretrained network has {value}; leave it out"
                )
            setattr(self, name, value)

    @property
    def scheme(self) -> Variant:
        """The variant that is built: the one that ``variant`` names, with all that other fields change in it."""
        chosen = VARIANTS[self.variant]
        if self.norm is not None:
            chosen = with_norm(chosen, self.norm)
        chosen = chosen.with_options(self.scheme_options)
        if self.only_block is not None and self.elsewhere is not None:
            chosen = at_one_block(chosen, VARIANTS[self.elsewhere], self.only_block)
        chosen = with_embedding_norm(chosen) if self.embedding_norm else chosen
        if self.form == "published":
            chosen = chosen.with_biases(VARIANTS[self.variant].published.get("biases", chosen.biases))
        return chosen

    @property
    def hidden_width(self) -> int:
        """Hidden width of the feed-forward sublayer; by default all activations have about equally many weights."""
        return self.feed_forward_width or (8 * self.width // 3 if self.activation == "swiglu" else 4 * self.width)

    @property
    def depth(self) -> int:
        """Number of blocks that are really built: the variant's own if it fixes one, else ``layers``."""
        fixed = self.scheme.layers
        return self.layers if fixed is None else fixed


OPTIMIZER_FIELDS: dict[str, tuple[str, ...]] = {
    "sgd": (),
    "momentum": ("momentum",),
    "rmsprop": ("momentum",),
    "adam": ("beta1", "beta2"),
    "adamw": ("beta1", "beta2"),
}
"""Fields that an optimiser reads in addition to those that all read; it ignores others
(``optimization.build_optimizer``)."""

MOST = {
    "layers": 10_000,
    "width": 100_000,
    "heads": 100_000,
    "feed_forward_width": 1_000_000,
    "schedule_epochs": 1_000_000,
    "seed": 2**32 - 1,
}
"""The largest values of fields: larger ones cost too much memory or time, or a library refuses them."""
MOST_WEIGHTS = 10**11
"""Most weights of the blocks: 400 gigabytes; a setting that asks for more is a slip."""

CHOICES: dict[str, tuple[str, ...]] = {
    "form": get_args(Form),
    "activation": get_args(Activation),
    "positions": get_args(Positions),
    "pooling": get_args(Pooling),
    "language_head": get_args(LanguageHeadKind),
    "initialisation": get_args(Initialisation),
    "word_vectors_width": ("same", "projected"),
    "loss": get_args(Loss),
    "class_weights": get_args(ClassWeights),
    "adversarial": get_args(Adversarial),
    "optimizer": get_args(OptimizerName),
    "decay": get_args(Decay),
}
