"""Own pictures: any size, depth and kind, in stacks of any length."""
