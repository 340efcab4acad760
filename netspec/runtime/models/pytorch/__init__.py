"""Training with PyTorch. Modules here import torch: they are imported when it is asked for."""
