"""From token ids to batches: order, padding, shares of several processes, augmentation."""
