"""L3: what scored records of two engines say of each other, the same cases on both sides."""
