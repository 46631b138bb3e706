"""Tool calls in generated text: formats, names, and the stage that finds them."""
