"""The models: LightningModules on top, pure torch parts below, callbacks and probes beside."""
