"""What a bundle speaks with: copied into each, it needs torch, torchvision, numpy, pillow and safetensors."""
