"""Outputs of a diagnosis: text, page, JSON file, TensorBoard, differences of two diagnoses."""
