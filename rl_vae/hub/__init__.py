"""Sharing: folders as repositories of the Hugging Face hub, pushed and pulled."""
