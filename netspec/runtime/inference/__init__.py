"""What a trained net says of pictures."""
