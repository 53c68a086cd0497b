"""Fine-tuning of XLM-RoBERTa for named-entity recognition in many languages, as plain PyTorch with its own loop."""
