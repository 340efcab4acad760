"""Training with PyTorch. Modules here import torch, so they are only imported when needed."""
