"""The text: corpora, cleaning, splits, tokenisation, batching, and the LightningDataModule on top of them."""
