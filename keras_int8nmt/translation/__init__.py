"""Text to text: sentences, streams of them, datasets and files."""
