"""A tokenizer of Hugging Face's ``transformers`` that cleans a text first, as training did."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import PreTrainedTokenizerFast
from transformers.tokenization_utils_base import TruncationStrategy
from transformers.utils import PaddingStrategy

from data_modules.cleaning.text import clean_text


class ResNormTokenizer(PreTrainedTokenizerFast):
    """A fast tokenizer that removes HTML, control characters and superfluous white space, and cuts long texts.

    Both are options that ``tokenizer_config.json`` holds: ``clean`` and ``cut``. A class with a constructor of its own
    would be rebuilt from its vocabulary alone, so it has none.
    """

    model_input_names: ClassVar[list[str]] = ["input_ids", "attention_mask"]

    def _encode_plus(
        self,
        text: Any,
        text_pair: Any = None,
        add_special_tokens: bool = True,
        padding_strategy: PaddingStrategy = PaddingStrategy.DO_NOT_PAD,
        truncation_strategy: TruncationStrategy = TruncationStrategy.DO_NOT_TRUNCATE,
        max_length: int | None = None,
        **options: Any,
    ) -> Any:
        """Clean and encode; a text that is too long for the network is cut unless this was switched off."""
        if self.init_kwargs.get("clean"):
            text, text_pair = cleaned(text), cleaned(text_pair)
        if self.init_kwargs.get("cut") and truncation_strategy is TruncationStrategy.DO_NOT_TRUNCATE:
            truncation_strategy, max_length = TruncationStrategy.LONGEST_FIRST, self.model_max_length
        return super()._encode_plus(
            text=text,
            text_pair=text_pair,
            add_special_tokens=add_special_tokens,
            padding_strategy=padding_strategy,
            truncation_strategy=truncation_strategy,
            max_length=max_length,
            **options,
        )


def cleaned(text: Any) -> Any:
    """Return a text, or texts in a list, cleaned; anything else as it is."""
    if isinstance(text, str):
        return clean_text(text)
    return [cleaned(each) for each in text] if isinstance(text, list | tuple) else text
