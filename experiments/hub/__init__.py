"""What is written for Hugging Face's libraries. ``import experiments.hub`` lets ``transformers`` read it.

Afterwards ``AutoModelForSequenceClassification.from_pretrained(FOLDER)`` and
``pipeline("text-classification", model=FOLDER)`` load a folder that ``experiments.export`` wrote.
"""

from __future__ import annotations

from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from data_modules.tokens.hub_tokenizer import ResNormTokenizer
from lightning_modules.export.hub_model import (
    ResNormConfig,
    ResNormForCausalLM,
    ResNormForMaskedLM,
    ResNormForSequenceClassification,
)

AutoConfig.register(ResNormConfig.model_type, ResNormConfig, exist_ok=True)
AutoModelForSequenceClassification.register(ResNormConfig, ResNormForSequenceClassification, exist_ok=True)
AutoModelForCausalLM.register(ResNormConfig, ResNormForCausalLM, exist_ok=True)
AutoModelForMaskedLM.register(ResNormConfig, ResNormForMaskedLM, exist_ok=True)
AutoTokenizer.register(ResNormConfig, fast_tokenizer_class=ResNormTokenizer, exist_ok=True)
