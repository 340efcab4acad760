"""What shows a run elsewhere while it is in progress: TensorBoard, MLflow, Weights & Biases."""
