"""Inference code, copied into every bundle: needs torch, torchvision, numpy, pillow and safetensors."""
